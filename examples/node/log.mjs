// Logging from Node.js: npm install pg; node log.mjs
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';

const pool = new pg.Pool();                 // PGHOST, PGDATABASE, PGUSER, ...
pool.on('error', () => {});                 // an idle connection broke: the next query makes another
const queue = [];
let sending = null;
let count = 0;

// A UUIDv7: the entry's time; and what is sent again, as no answer came, is stored once.
const newId = () => Date.now().toString(16).padStart(12, '0') + '7' +
  (count++ % 4096).toString(16).padStart(3, '0') + '8' + randomBytes(8).toString('hex').slice(1);

export function log(level, message, metadata = {}) {
  queue.push(JSON.stringify({ id: newId(), agent_id: process.env.AGENT_ID ?? 'node', level, message, metadata }));
  sending ??= sleep(100).then(send);
}

// Resolves when all that was logged is stored.
export const flush = async () => { while (sending) await sending; };

async function send() {
  for (let size = 500; queue.length > 0;) {
    const batch = queue.slice(0, size);
    try {
      await pool.query('SELECT mals_log_batch($1::jsonb)', [`[${batch}]`]);
      queue.splice(0, batch.length);
      size = Math.min(500, 2 * size);
    } catch (error) {
      console.error('mals:', error.message);
      if (!error.code?.startsWith('22')) await sleep(1000); // the server is away
      else if (size > 1) size >>= 1;                        // a bad entry: which?
      else queue.shift();                                   // this one
    }
  }
  sending = null;
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  log('info', 'hello from node', { pid: process.pid });
  await flush();
  await pool.end();
}
