export { type Classifier, createClassifier } from './classifier.js';
export { type Category, catalog, type EventType, type Outcome, type Severity } from './event-types.js';
