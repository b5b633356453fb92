import { describeInstall } from './install-on.js';

describeInstall('trixie');
