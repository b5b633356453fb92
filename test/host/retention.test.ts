import { describeRetention, MIXED } from './retention-host.js';

describeRetention(MIXED);
