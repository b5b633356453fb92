import { catalog, type EventType, resourceNames } from './event-catalog.js';

const HEAD = `# Events

Every kind of event that \`postern-auditd\` knows, as the catalog in \`src/audit/event-catalog.ts\` has it. This page is generated from it:
\`UPDATE_DOCS=1 npx vitest run test/audit/events-doc.test.ts\` regenerates it.

- **Action** is the canonical name: \`event.action\` in ECS, MSGID in RFC 5424, the signature in CEF, EventID in LEEF, \`metadata.event_code\` in OCSF.
  The word that stood in the row travels beside it (\`postern.action\`); filters accept either.
- **Severity** is syslog's. **ECS** is \`event.category\` / \`event.type\`. **OCSF** is \`class_uid\`.\`activity_id\` of version 1.8.0.
- **Also written as** lists other words that a row may have for it. Upper and lower case, \`-\`, \`.\`, space and camelCase, singular and plural, and verbs in the
  past tense are also understood, and so is the resource type before or behind the word: \`proxy_host_updated\`, \`updateProxyHost\`. More can be
  given under \`source.aliases\` in the configuration.
- A row with anything else ships as an event of its own, \`<resource type>.<word>\`, severity info, outcome unknown. It is never taken for one of these.
- \`daemon.log_opened\` is the first line of each log file, not an event of a row.
`;

/** The page docs/reference/EVENTS.md, Markdown. */
export function eventsTable(): string {
  const sections = [...resourceNames].map(([category, [, ...names]]) => {
    const types = catalog.filter((type) => type.category === category);
    const also = names.length === 0 ? '' : `\nResource type also as ${names.map(code).join(', ')}.\n`;
    return `\n## ${category}\n${also}\n${COLUMNS}${types.map(row).join('')}`;
  });
  return HEAD + sections.join('');
}

const COLUMNS = `| Action | Meaning | Outcome | Severity | ECS | OCSF | Also written as |
| --- | --- | --- | --- | --- | --- | --- |
`;

function row(type: EventType): string {
  const { ecs, ocsf } = type;
  const cells = [
    code(type.action),
    type.title,
    type.outcome,
    type.severity,
    `${ecs.category.join(', ')} / ${ecs.type.join(', ')}`,
    `${ocsf.classUid}.${ocsf.activityId}`,
    type.aliases.map(code).join(', '),
  ];
  return `| ${cells.join(' | ')} |\n`;
}

function code(text: string): string {
  return `\`${text}\``;
}
