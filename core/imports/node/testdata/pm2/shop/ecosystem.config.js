const path = require('path');
const { name } = require('./package.json');
const common = { cwd: __dirname, max_memory_restart: '300M', env: { LOG: 'info' } };
module.exports = {
  apps: [
    {
      ...common,
      name: `${name}-API`,
      script: path.join('src', 'api.js'),
      args: '--greeting "hello you" --n 3',
      instances: 'max',
      exec_mode: 'cluster',
      wait_ready: true,
      kill_timeout: 5000,
      env: { ...common.env, PORT: 3000, DEBUG: 'true', HOST: process.env.HOST || '127.0.0.1' },
      env_production: { NODE_ENV: 'production', LOG: 'warn' },
      merge_logs: true,
      log_date_format: 'YYYY',
    },
    { ...common, name: 'worker', script: 'worker.py', autorestart: true, watch: ['src'], ignore_watch: ['*.log'], restart_delay: 3000, cron_restart: '0 3 * * *', max_restarts: 4, min_uptime: '10s' },
    { name: 'shell', script: 'while true; do echo "$HOME ${X}"; sleep 1; done', env_production: { LOG: 'error' }, stop_exit_codes: [0] },
    { name: 'bin', script: './bin/server', interpreter: 'none', args: ['-l', '$PORT'], env: { PORT: '4000' }, surprise: 1 },
    { name: 'once', script: 'x.js', node_args: '--max-old-space-size=100', autorestart: false, instances: 1 },
  ],
  deploy: { production: { user: 'node' } },
};
