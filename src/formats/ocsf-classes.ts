/** The one version of the Open Cybersecurity Schema Framework that is written. */
export const OCSF_VERSION = '1.8.0';

export interface OcsfClass {
  readonly name: string;
  readonly category: string;
  readonly activities: Readonly<Record<number, string>>;
}

const always = { 0: 'Unknown', 99: 'Other' } as const;

/** The class of an event without a class of its own. */
export const baseEvent: OcsfClass = { name: 'Base Event', category: 'Uncategorized', activities: always };

/** The classes in use by class_uid, with the captions of OCSF 1.8.0. */
export const ocsfClasses: Readonly<Record<number, OcsfClass>> = {
  0: baseEvent,
  2004: {
    name: 'Detection Finding',
    category: 'Findings',
    activities: { ...always, 1: 'Create', 2: 'Update', 3: 'Close' },
  },
  3001: {
    name: 'Account Change',
    category: 'Identity & Access Management',
    activities: {
      ...always,
      1: 'Create',
      2: 'Enable',
      3: 'Password Change',
      4: 'Password Reset',
      5: 'Disable',
      6: 'Delete',
      7: 'Attach Policy',
      8: 'Detach Policy',
      9: 'Lock',
      10: 'MFA Factor Enable',
      11: 'MFA Factor Disable',
      12: 'Unlock',
    },
  },
  3002: {
    name: 'Authentication',
    category: 'Identity & Access Management',
    activities: {
      ...always,
      1: 'Logon',
      2: 'Logoff',
      3: 'Authentication Ticket',
      4: 'Service Ticket Request',
      5: 'Service Ticket Renew',
      6: 'Preauth',
      7: 'Account Switch',
    },
  },
  3004: {
    name: 'Entity Management',
    category: 'Identity & Access Management',
    activities: {
      ...always,
      1: 'Create',
      2: 'Read',
      3: 'Update',
      4: 'Delete',
      5: 'Move',
      6: 'Enroll',
      7: 'Unenroll',
      8: 'Enable',
      9: 'Disable',
      10: 'Activate',
      11: 'Deactivate',
      12: 'Suspend',
      13: 'Resume',
    },
  },
  6002: {
    name: 'Application Lifecycle',
    category: 'Application Activity',
    activities: {
      ...always,
      1: 'Install',
      2: 'Remove',
      3: 'Start',
      4: 'Stop',
      5: 'Restart',
      6: 'Enable',
      7: 'Disable',
      8: 'Update',
    },
  },
  6003: {
    name: 'API Activity',
    category: 'Application Activity',
    activities: { ...always, 1: 'Create', 2: 'Read', 3: 'Update', 4: 'Delete' },
  },
};
