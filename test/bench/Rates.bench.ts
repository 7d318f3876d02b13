/**
 * Cost of rate limits per block: without limits, with limits that delay no peer, and with 50 peers that have to wait.
 *
 * `node test/bench/Rates.bench.ts`
 */
import { blockLength } from "../../src/base/PieceGeometry.ts"
import * as RateLimiter from "../../src/rate/RateLimiter.ts"
import { measure } from "./measure.ts"

let seen = 0

const treeOf = (bytesPerSecond: number | undefined, peers: number) => {
  const engine = RateLimiter.make({ bytesPerSecond, now: 0 })
  const torrent = RateLimiter.make({ bytesPerSecond, parent: engine, now: 0 })
  return {
    engine,
    peers: Array.from({ length: peers }, () => RateLimiter.make({ bytesPerSecond, parent: torrent, now: 0 }))
  }
}

const free = treeOf(undefined, 1).peers[0]!
measure("RateLimiter: no limits", 1_024, () => {
  for (let block = 0; block < 1_024; block++) if (RateLimiter.take(free, blockLength, block)) seen++
})

const fast = treeOf(1e12, 1).peers[0]!
let now = 0
measure("RateLimiter: three limits, no peer waits", 1_024, () => {
  for (let block = 0; block < 1_024; block++) if (RateLimiter.take(fast, blockLength, now++)) seen++
})

for (const peers of [1, 50]) {
  const crowd = treeOf(100_000_000, peers)
  const woken: Array<RateLimiter.RateLimiter> = [...crowd.peers]
  let at = 0
  const wakers = new Map(crowd.peers.map((peer) => [peer, () => void woken.push(peer)]))
  for (const peer of crowd.peers) Object.assign(peer, { wake: wakers.get(peer) })
  measure(`RateLimiter: block of ${peers} peers that wait`, 1_000, () => {
    for (let served = 0; served < 1_000; ) {
      at += 20
      for (const peer of woken.splice(0)) {
        while (RateLimiter.take(peer, blockLength, at)) served++
      }
      RateLimiter.step(crowd.engine, at)
      seen++
    }
  })
}

if (seen === 0) throw new Error("nothing was measured")
