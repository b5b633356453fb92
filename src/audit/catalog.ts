export { type Classifier, createClassifier, resourceCategory } from './classifier.js';
export { type Category, catalog, type EventType, type Outcome, type Severity } from './event-catalog.js';
