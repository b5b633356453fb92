export { type Classifier, createClassifier, resourceCategory } from './classifier.js';
export {
  type Category,
  catalog,
  type EventType,
  isAtLeast,
  type Outcome,
  SEVERITIES,
  type Severity,
} from './event-catalog.js';
