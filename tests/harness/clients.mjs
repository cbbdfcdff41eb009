// SPDX-License-Identifier: Apache-2.0
import WebSocket from 'ws'

/** realtime-js before 2.12 never listens to a socket of a given `transport`; it finds `ws` by itself. */
export const transportOf = (version) => version.startsWith('2.11.') ? {} : { transport: WebSocket }
