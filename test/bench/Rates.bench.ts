/**
 * Rate limits and their meters per block: without limits, with limits that delay no peer, and with 50 peers that have
 * to wait.
 */
import { blockLength } from "../../src/base/PieceGeometry.ts"
import * as RateLimiter from "../../src/rate/RateLimiter.ts"
import * as RateMeter from "../../src/rate/RateMeter.ts"
import { type Operation, plain, seen } from "./Operation.ts"

const blocks = 256

const treeOf = (bytesPerSecond: number | undefined, peers: number) => {
  const engine = RateLimiter.make({ bytesPerSecond, now: 0 })
  const torrent = RateLimiter.make({ bytesPerSecond, parent: engine, now: 0 })
  return {
    engine,
    peers: Array.from({ length: peers }, () => RateLimiter.make({ bytesPerSecond, parent: torrent, now: 0 }))
  }
}

const free = treeOf(undefined, 1).peers[0]!
const fast = treeOf(1e12, 1).peers[0]!
let now = 0

const waiting = (peers: number): Operation => {
  const crowd = treeOf(100_000_000, peers)
  const woken: Array<RateLimiter.RateLimiter> = [...crowd.peers]
  let at = 0
  const wakers = new Map(crowd.peers.map((peer) => [peer, () => void woken.push(peer)]))
  for (const peer of crowd.peers) Object.assign(peer, { wake: wakers.get(peer) })
  return plain(`RateLimiter: a block, ${peers} peers that wait`, blocks, () => {
    for (let served = 0; served < blocks; ) {
      at += 20
      for (const peer of woken.splice(0)) {
        while (RateLimiter.take(peer, blockLength, at)) served++
      }
      RateLimiter.step(crowd.engine, at)
      seen.value++
    }
  })
}

const meter = RateMeter.make({ now: 0 })
let measuredAt = 0

export const operations: ReadonlyArray<Operation> = [
  plain("RateLimiter: a block, no limits", blocks, () => {
    for (let block = 0; block < blocks; block++) if (RateLimiter.take(free, blockLength, block)) seen.value++
  }),
  plain("RateLimiter: a block, three limits, no peer waits", blocks, () => {
    for (let block = 0; block < blocks; block++) if (RateLimiter.take(fast, blockLength, now++)) seen.value++
  }),
  waiting(1),
  waiting(50),
  plain("RateMeter: a block", blocks, () => {
    for (let block = 0; block < blocks; block++) RateMeter.add(meter, blockLength, measuredAt++)
    seen.value += meter.sum
  })
]
