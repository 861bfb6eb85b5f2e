/** The React hook of the original document, with the same name and the same answer, on top of daysheet.js. */

import { useEffect, useState } from 'react';

import { watch } from './daysheet.js';

const NOTHING = { queueData: null, state: 'idle', error: null };

/**
 * Shows a date (YYYY-MM-DD; none while it is empty) and follows it. `options` are those of `watch` that are data:
 * url, doctors, department, view, doctorId, mode, heartbeat. Another date or other options start afresh.
 *
 * `isConnected`: the server is there. `stale`: what is shown may be old. What did not change keeps its identity, so
 * that memoised components are not drawn again.
 */
export function useCentralQueueMonitor(date, options) {
  const wanted = JSON.stringify([date, options]); // an object literal is another one in every render
  const [seen, setSeen] = useState({ wanted, ...NOTHING });

  useEffect(() => {
    if (!date) return undefined;
    const look = () => setSeen({ wanted, queueData: monitor.day, state: monitor.state, error: monitor.error });
    const monitor = watch({ ...options, date, onDay: look, onState: look, onError: look });
    return () => monitor.close();
  }, [wanted]);

  // Until the first board of a new date is here, nothing is shown rather than the old date's.
  const { queueData, state, error } = seen.wanted === wanted ? seen : NOTHING;
  const isConnected = state === 'live' || state === 'stale';
  return { queueData, isConnected, state, stale: queueData !== null && state !== 'live', error };
}
