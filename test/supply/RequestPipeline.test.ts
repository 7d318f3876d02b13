import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as RateLimiter from "../../src/rate/RateLimiter.ts"
import * as PieceBuffer from "../../src/supply/PieceBuffer.ts"
import * as RequestPipeline from "../../src/supply/RequestPipeline.ts"
import { blockLength, piece } from "../assembly/pieces.ts"
import { nameOf } from "./ScriptedSupplier.ts"

const blocks = 2_000

const bufferOf = () => PieceBuffer.make(piece(1), new Uint8Array(blocks * blockLength), 0)

/** A pipeline with requests for blocks `0 ..< count`, sent at `now`. */
const sent = (count: number, now = 0) => {
  const pipeline = RequestPipeline.make(blocks, 0)
  const buffer = bufferOf()
  for (let block = 0; block < count; block++) RequestPipeline.send(pipeline, buffer, block, now)
  return { pipeline, buffer }
}

const requestsOf = (buffer: PieceBuffer.PieceBuffer, count: number) => [...buffer.requests.subarray(0, count)]

/** Simulates a peer that answers `perSecond` blocks a second, each no earlier than `delay` after its request. */
const run = (perSecond: number, delay: number, seconds: number, most?: number, isHurried = false) => {
  const pipeline = RequestPipeline.make(blocks, 0)
  pipeline.isHurried = isHurried
  RequestPipeline.bound(pipeline, most)
  const buffer = bufferOf()
  let block = 0
  let budget = 0
  let idle = 0
  for (let now = 0; now < seconds * 1_000; now += 10) {
    while (RequestPipeline.room(pipeline) > 0) RequestPipeline.send(pipeline, buffer, block++ % blocks, now)
    budget += perSecond / 100
    for (const request of [...pipeline.requests.values()]) {
      if (budget < 1 || now - request.sentAt < delay) break
      budget--
      RequestPipeline.arrive(pipeline, buffer.piece, request.block, now)
    }
    // An idle link does not catch up later.
    if (budget >= 1) {
      if (now > (seconds * 1_000) / 2) idle++
      budget = 0
    }
  }
  return { pipeline, idle }
}

describe("RequestPipeline", () => {
  it("requests a quarter of a MiB from an unknown peer", () => {
    const { pipeline } = sent(0)

    assert.strictEqual(RequestPipeline.room(pipeline) * blockLength, 256 * 1024)
  })

  it("asks for more when an eighth of a deep pipeline is empty, and at once if it is shallow", () => {
    const isLow = (depth: number, out: number): boolean => {
      const { pipeline } = sent(out)
      pipeline.depth = depth
      return RequestPipeline.isLow(pipeline)
    }

    assert.deepStrictEqual(
      [isLow(500, 500), isLow(500, 438), isLow(500, 437), isLow(500, 0)],
      [false, false, true, true]
    )
    assert.deepStrictEqual([isLow(64, 57), isLow(64, 56)], [false, true])
    assert.deepStrictEqual([isLow(63, 63), isLow(63, 62), isLow(2, 1)], [false, true, true])
  })

  it("asks for more when a snubbed pipeline is empty, however deep it was", () => {
    const { pipeline } = sent(0)
    pipeline.depth = 128
    pipeline.isSnubbed = true

    assert.isTrue(RequestPipeline.isLow(pipeline))
  })

  it("knows whether a request has been out for so long, whatever is sent and answered", () => {
    const kinds = fc.constantFrom("send", "send", "ask", "ask", "arrive", "release", "releaseAll")
    const steps = fc.array(fc.tuple(kinds, fc.nat(700)), { minLength: 20, maxLength: 40 })
    fc.assert(
      fc.property(steps, (script) => {
        const { buffer, pipeline } = sent(0)
        let now = 0
        let block = 0
        for (const [what, amount] of script) {
          now += amount
          const requests = [...pipeline.requests.values()]
          const request = requests[amount % Math.max(1, requests.length)]
          if (what === "send") RequestPipeline.send(pipeline, buffer, block++, now)
          else if (what === "releaseAll") RequestPipeline.releaseAll(pipeline)
          else if (what === "ask") {
            const isOld = requests.some(({ sentAt }) => now - sentAt >= 1_000)
            assert.strictEqual(RequestPipeline.isAnyOutFor(pipeline, 1_000, now), isOld)
          } else if (request !== undefined) {
            if (what === "arrive") RequestPipeline.arrive(pipeline, buffer.piece, request.block, now)
            else RequestPipeline.release(pipeline, buffer.piece, request.block)
          }
          assert.isTrue(requests.every(({ block, isOut }) => isOut === pipeline.requests.has(blocks + block)))
        }
      })
    )
  })

  it("grows to the rate times the delay and half a second", () => {
    const { pipeline } = run(400, 200, 20)

    assert.approximately(pipeline.depth, 400 * 0.7, 60)
  })

  it("grows to half of that time while somebody waits for pieces, and keeps the peer busy", () => {
    const { idle, pipeline } = run(400, 200, 20, undefined, true)

    assert.approximately(pipeline.depth, 400 * 0.45, 40)
    assert.strictEqual(idle, 0)
  })

  it("requests as much of a slow peer while somebody waits as otherwise", () => {
    for (const perSecond of [2, 10, 16]) {
      const depths = [false, true].map((isHurried) => run(perSecond, 20, 60, undefined, isHurried).pipeline.depth)
      assert.isAtLeast(depths[1]!, Math.min(8, depths[0]!))
    }
  })

  it("keeps a fast peer busy once it is measured", () => {
    const { idle } = run(400, 200, 20)

    assert.strictEqual(idle, 0)
  })

  it("holds few blocks of a slow peer", () => {
    const { pipeline } = run(2, 50, 60)

    assert.isAtLeast(pipeline.depth, RequestPipeline.minDepth)
    assert.isAtMost(pipeline.depth, 5)
  })

  it("never requests more than 500 blocks at once", () => {
    const { pipeline } = run(20_000, 1_000, 20)

    assert.strictEqual(pipeline.depth, RequestPipeline.maxDepth)
  })

  it("releases a request on arrival", () => {
    const { buffer, pipeline } = sent(2)

    const request = RequestPipeline.arrive(pipeline, 1, 0, 5)

    assert.strictEqual(nameOf(request), "1:0")
    assert.deepStrictEqual(requestsOf(buffer, 2), [0, 1])
    assert.strictEqual(pipeline.requests.size, 1)
  })

  it("has nothing to release twice", () => {
    const { buffer, pipeline } = sent(1)
    RequestPipeline.release(pipeline, 1, 0)

    const again = RequestPipeline.release(pipeline, 1, 0)

    assert.isUndefined(again)
    assert.deepStrictEqual(requestsOf(buffer, 1), [0])
  })

  it("releases everything on choke, when the peer is gone and on stop", () => {
    const { buffer, pipeline } = sent(5)

    RequestPipeline.releaseAll(pipeline)

    assert.deepStrictEqual(requestsOf(buffer, 5), [0, 0, 0, 0, 0])
    assert.strictEqual(pipeline.requests.size, 0)
    assert.strictEqual(PieceBuffer.nextFree(buffer), 0)
  })

  it("forgets the requests for one piece, and returns their blocks", () => {
    const { buffer, pipeline } = sent(2)
    const other = PieceBuffer.make(piece(2), new Uint8Array(blockLength), 0)
    RequestPipeline.send(pipeline, other, 0, 0)

    const forgotten = RequestPipeline.releasePiece(pipeline, buffer)

    assert.deepStrictEqual(forgotten, [0, 1])
    assert.deepStrictEqual([...pipeline.requests.values()].map(nameOf), ["2:0"])
    assert.deepStrictEqual([...other.requests], [1])
  })

  it("never requests more than the peer accepts, whatever its rate, nor more than most peers accept", () => {
    const { pipeline } = sent(2)
    RequestPipeline.bound(pipeline, 5)
    const first = RequestPipeline.room(pipeline)
    const fast = run(2_000, 200, 20, 300).pipeline.depth
    RequestPipeline.bound(pipeline, 2_000)

    assert.deepStrictEqual([first, fast, pipeline.depth], [3, 300, 5])
    assert.strictEqual(run(2_000, 1_000, 20, 10_000).pipeline.depth, 500)
  })

  it("requests no more than a peer accepts after it was silent", () => {
    const { pipeline } = sent(3)
    RequestPipeline.bound(pipeline, 3)

    RequestPipeline.expire(pipeline, 10_000)

    assert.deepStrictEqual([pipeline.isSnubbed, pipeline.depth], [true, 3])
  })

  it("fault 46: lets all requests of a silent peer time out after 10 s, and marks it snubbed", () => {
    const { buffer, pipeline } = sent(3)

    const early = RequestPipeline.expire(pipeline, 9_999)
    const expired = RequestPipeline.expire(pipeline, 10_000)

    assert.deepStrictEqual(early, [])
    assert.deepStrictEqual(expired.map(nameOf), ["1:0", "1:1", "1:2"])
    assert.deepStrictEqual(requestsOf(buffer, 3), [0, 0, 0])
    assert.isTrue(pipeline.isSnubbed)
    assert.strictEqual(RequestPipeline.room(pipeline), 1)
  })

  it("counts a peer's silence from its first request", () => {
    const pipeline = RequestPipeline.make(blocks, 0)
    RequestPipeline.send(pipeline, bufferOf(), 0, 60_000)

    const expired = RequestPipeline.expire(pipeline, 69_999)

    assert.deepStrictEqual(expired, [])
    assert.isFalse(pipeline.isSnubbed)
  })

  it("does not let requests to a slow peer time out while it sends", () => {
    const { pipeline } = sent(4)
    RequestPipeline.arrive(pipeline, 1, 0, 9_000)

    const expired = RequestPipeline.expire(pipeline, 18_000)

    assert.deepStrictEqual(expired, [])
  })

  it("lets a request that was passed over time out, and does not mark the peer snubbed", () => {
    const { buffer, pipeline } = sent(1)
    RequestPipeline.send(pipeline, buffer, 1, 100)
    RequestPipeline.send(pipeline, buffer, 2, 100)
    RequestPipeline.arrive(pipeline, 1, 1, 5_000)

    const early = RequestPipeline.expire(pipeline, 9_999)
    const expired = RequestPipeline.expire(pipeline, 10_000)

    assert.deepStrictEqual(early, [])
    assert.deepStrictEqual(expired.map(nameOf), ["1:0"])
    assert.isFalse(pipeline.isSnubbed)
  })

  it("ends the snubbing of a peer with its next block", () => {
    const { buffer, pipeline } = sent(3)
    RequestPipeline.expire(pipeline, 10_000)
    RequestPipeline.send(pipeline, buffer, 0, 10_000)

    RequestPipeline.arrive(pipeline, 1, 0, 11_000)

    assert.isFalse(pipeline.isSnubbed)
    assert.isAtLeast(RequestPipeline.room(pipeline), RequestPipeline.minDepth)
  })

  /**
   * A silent peer whose request is cancelled after 3 s, and which gets another one at once, or 3 s later if it `rests`.
   */
  const overtaken = (seconds: number, options: { readonly rests?: boolean; readonly lateAt?: number } = {}) => {
    const pipeline = RequestPipeline.make(blocks, 0)
    const buffer = bufferOf()
    for (let second = 0; second <= seconds; second++) {
      const now = second * 1_000
      RequestPipeline.expire(pipeline, now)
      if (second === options.lateAt) RequestPipeline.answer(pipeline)
      if (pipeline.isSnubbed) return { pipeline, second }
      if (second % 3 === 0) {
        RequestPipeline.release(pipeline, buffer.piece, 0)
        if (options.rests !== true || second % 2 === 0) RequestPipeline.send(pipeline, buffer, 0, now)
      }
    }
    return { pipeline, second: undefined }
  }

  it("fault 46: marks a peer snubbed that sent no block while requests were out for 60 s, although others overtook", () => {
    const { pipeline, second } = overtaken(200)

    assert.strictEqual(second, 60)
    assert.deepStrictEqual([pipeline.requests.size, RequestPipeline.room(pipeline)], [0, 1])
  })

  it("counts only the time in which requests are out, and none before a block that was cancelled", () => {
    assert.strictEqual(overtaken(200, { rests: true }).second, 117)
    assert.strictEqual(overtaken(200, { lateAt: 40 }).second, 100)
  })

  it("waits at most 30 s for a block whose parts keep arriving", () => {
    const { pipeline } = sent(3)
    const ends: Array<number> = []

    for (let now = 1_000; now <= 40_000; now += 1_000) {
      if (RequestPipeline.expire(pipeline, now).length > 0) ends.push(now)
      RequestPipeline.progress(pipeline, now)
    }

    assert.deepStrictEqual(ends, [30_000])
    assert.isTrue(pipeline.isSnubbed)
    assert.strictEqual(pipeline.requests.size, 0)
  })
})

describe("RequestPipeline under a limit", () => {
  const make = (blocksPerSecond: number) => {
    const limiter = RateLimiter.make({ bytesPerSecond: blocksPerSecond * blockLength, now: 0 })
    return { limiter, pipeline: RequestPipeline.make(blocks, 0, limiter), buffer: bufferOf() }
  }

  /** Sends as many requests as it may. Returns how many. */
  const fill = ({ buffer, pipeline }: ReturnType<typeof make>, now: number, from = 0): number => {
    let block = from
    while (RequestPipeline.admits(pipeline, now)) RequestPipeline.send(pipeline, buffer, block++, now)
    return block - from
  }

  it("requests no more than it allows, and more as time passes", () => {
    const limited = make(4)

    const counts = [fill(limited, 0), fill(limited, 100, 3)]
    RateLimiter.step(limited.limiter, 1_500)
    counts.push(fill(limited, 1_500, 3))

    // Half a second's worth and one block each time.
    assert.deepStrictEqual(counts, [3, 0, 3])
  })

  it("returns the bytes of blocks that will not arrive, for whatever reason, and keeps those of others", () => {
    const limited = make(4)
    const { buffer, limiter, pipeline } = limited
    const before = limiter.tokens
    fill(limited, 0)

    RequestPipeline.arrive(pipeline, buffer.piece, 0, 0)
    RequestPipeline.release(pipeline, buffer.piece, 1)
    RequestPipeline.releaseAll(pipeline)

    assert.strictEqual(before - limiter.tokens, blockLength)
  })

  it("returns the bytes of requests that timed out", () => {
    const limited = make(4)
    fill(limited, 0)

    RequestPipeline.expire(limited.pipeline, 10_000)

    assert.isAbove(limited.limiter.tokens, 0)
  })

  it("waits for nothing once there was nothing to request", () => {
    const limited = make(1)
    const { limiter, pipeline } = limited
    fill(limited, 0)
    RateLimiter.step(limiter, 1_000)
    const credit = limiter.credit

    assert.isTrue(RequestPipeline.admits(pipeline, 1_000))
    RequestPipeline.decline(pipeline)

    assert.deepStrictEqual([credit, limiter.credit, limiter.wanted], [blockLength, 0, 0])
  })

  it("counts only the bytes of a short last block", () => {
    const limited = make(4)
    const { limiter, pipeline } = limited
    const short = PieceBuffer.make(piece(0), new Uint8Array(100), 0)
    const before = limiter.tokens

    RequestPipeline.admits(pipeline, 0)
    RequestPipeline.send(pipeline, short, 0, 0)

    assert.strictEqual(before - limiter.tokens, 100)
  })
})
