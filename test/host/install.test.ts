import { describeInstall } from './install-on.js';

describeInstall('bookworm');
