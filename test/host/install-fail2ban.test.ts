import { describeBesideJails, describeWithoutFail2ban } from './install-fail2ban-on.js';

describeWithoutFail2ban('trixie');
describeBesideJails();
