// Logging from Node.js: npm install pg; node log.mjs
import pg from 'pg';

const pool = new pg.Pool();                 // PGHOST, PGDATABASE, PGUSER, ...
const queue = [];
let sending = null;

export function log(level, message, metadata = {}) {
  queue.push({ agent_id: process.env.AGENT_ID ?? 'node', level, message, metadata, ts: new Date().toISOString() });
  sending ??= new Promise((resolve) => setTimeout(resolve, 100)).then(flush);
}

// Sends all that waits in batches; after an error it waits and sends again.
export async function flush() {
  while (queue.length > 0) {
    const batch = queue.slice(0, 500);
    try {
      await pool.query('SELECT mals_log_batch($1::jsonb)', [JSON.stringify(batch)]);
      queue.splice(0, batch.length);
    } catch (error) {
      console.error('mals:', error.message);
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
  sending = null;
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  log('info', 'hello from node', { pid: process.pid });
  await sending;
  await pool.end();
}
