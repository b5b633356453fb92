import { VERSION } from '../version.js';

/** How the reporter names itself to a SIEM. */
export const product = { vendor: 'Postern', name: 'postern-auditd', version: VERSION } as const;
