// Receives messages of webhooks in a test host's `client` namespace, as ntfy, Discord, Slack and Apprise do: a body that breaks the
// receiver's published rules is answered with 400. Appends each request to a file, with the time of its arrival in ms.
// Arguments: address, port, file.
import { appendFileSync } from 'node:fs';
import { createServer } from 'node:http';

const [address, port, file] = process.argv.slice(2);

const RULES = {
  '/': ({ topic, title, message, priority }) =>
    /^[\w-]{1,64}$/.test(topic) &&
    isText(title, 1, 250) &&
    isText(message, 1, 4_096) &&
    [1, 2, 3, 4, 5].includes(priority),
  '/api/webhooks/1/x': ({ embeds, allowed_mentions }) =>
    embeds.length <= 10 &&
    embeds.every(({ title, description }) => isText(title, 1, 256) && isText(description, 1, 4_096)) &&
    allowed_mentions.parse.length === 0,
  '/services/T/B/x': ({ text, blocks }) =>
    isText(text, 1, 40_000) &&
    blocks.every(
      ({ type, text }) => isText(text.text, 1, type === 'header' ? 150 : 3_000) && text.type === 'plain_text',
    ),
  '/notify/key': ({ body, type, format }) =>
    isText(body, 1, 32_768) && ['info', 'success', 'warning', 'failure'].includes(type) && format === 'text',
  '/json': (body) => typeof body === 'object',
};

function isText(text, least, most) {
  return typeof text === 'string' && text.length >= least && text.length <= most;
}

createServer((request, response) => {
  const at = Date.now();
  let body = '';
  request.setEncoding('utf8').on('data', (part) => {
    body += part;
  });
  request.on('end', () => {
    let isRight = false;
    try {
      isRight = request.method === 'POST' && RULES[request.url](JSON.parse(body));
    } catch {
      // 400
    }
    appendFileSync(file, `${JSON.stringify({ at, path: request.url, isRight, body })}\n`);
    response.writeHead(isRight ? 200 : 400, { 'Content-Type': 'application/json' }).end('{}');
  });
}).listen(Number(port), address);
