/** The announce that tests of trackers send when it does not matter what it says. */
import type { AnnounceRequest } from "../../../src/discovery/tracker/Tracker.ts"

/** The first announce of a peer that has nothing yet. */
export const request: AnnounceRequest = {
  infoHash: new Uint8Array(20).fill(1),
  peerId: new Uint8Array(20).fill(97),
  port: 6881,
  uploaded: 0,
  downloaded: 0,
  left: 10,
  event: "started",
  numWant: 50,
  key: 1,
  trackerId: undefined
}
