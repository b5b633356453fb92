import { VERSION } from '../version.js';

/** The vendor and product names that a SIEM sees. */
export const product = { vendor: 'Postern', name: 'postern-auditd', version: VERSION } as const;
