import { describeRetention, EACH } from './retention-host.js';

describeRetention(EACH);
