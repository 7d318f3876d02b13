import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import * as UploadQueue from "../../src/peer/UploadQueue.ts"

const block = 16_384
const pieceLength = 8 * block

const queueOf = (
  options: { readonly maxRequests?: number; readonly allowedFast?: ReadonlySet<PieceIndex> } = {}
): UploadQueue.UploadQueue => {
  const queue = UploadQueue.make({ pieceLength, ...options })
  UploadQueue.unchoke(queue)
  return queue
}

/** Requests named `piece:block`. */
const parse = (name: string) => name.split(":").map(Number) as [piece: PieceIndex, block: number]

const ask = (queue: UploadQueue.UploadQueue, requests: string) =>
  requests.split(" ").map((name) => {
    const [piece, index] = parse(name)
    return UploadQueue.request(queue, piece, index * block, block)
  })

const cancel = (queue: UploadQueue.UploadQueue, name: string) => {
  const [piece, index] = parse(name)
  return UploadQueue.cancel(queue, piece, index * block, block)
}

const tell = (requests: ReadonlyArray<UploadQueue.BlockRequest>) =>
  requests.map(({ begin, piece }) => `${piece}:${begin / block}`).join(" ")

/** Takes every run. */
const takeAll = (queue: UploadQueue.UploadQueue, maxLength?: number) => {
  const runs: Array<string> = []
  while (queue.waiting > 0) runs.push(tell(UploadQueue.take(queue, maxLength)))
  return runs
}

describe("UploadQueue", () => {
  it("takes neighbouring blocks together, the oldest request first", () => {
    const queue = queueOf()
    ask(queue, "1:0 1:1 1:2 0:4 0:5 1:3")

    assert.deepStrictEqual(takeAll(queue), ["1:0 1:1 1:2 1:3", "0:4 0:5"])
  })

  it("takes no more than a run may have, and at least one request", () => {
    const queue = queueOf()
    ask(queue, "0:0 0:1 0:2 0:3 0:4")

    assert.deepStrictEqual(takeAll(queue, 2 * block), ["0:0 0:1", "0:2 0:3", "0:4"])
    ask(queue, "1:0 1:1")
    assert.deepStrictEqual(takeAll(queue, 1), ["1:0", "1:1"])
  })

  it("does not continue a run past the end of a piece", () => {
    const queue = queueOf()
    ask(queue, "0:7 1:0")

    assert.deepStrictEqual(takeAll(queue), ["0:7", "1:0"])
  })

  it("does not take again what is being read", () => {
    const queue = queueOf()
    ask(queue, "0:1 0:3")
    UploadQueue.take(queue)
    ask(queue, "0:0")

    assert.deepStrictEqual(takeAll(queue), ["0:3", "0:0"])
  })

  it("takes blocks of other lengths, if each ends where the next begins", () => {
    const queue = queueOf()
    UploadQueue.request(queue, 0 as PieceIndex, 0, 1_000)
    UploadQueue.request(queue, 0 as PieceIndex, 1_000, 131_072 - 1_000)

    const length = UploadQueue.next(queue).length
    const run = UploadQueue.take(queue)

    assert.strictEqual(length, 1_000)
    assert.deepStrictEqual(
      run.map((request) => request.begin),
      [0, 1_000]
    )
  })

  it("has nothing to take without requests", () => {
    const queue = queueOf()

    assert.deepStrictEqual(UploadQueue.take(queue), [])
    assert.strictEqual(UploadQueue.next(queue).length, 0)
  })

  it("answers a request that was sent twice once", () => {
    const queue = queueOf()

    const results = ask(queue, "0:0 0:0")
    const [taken] = UploadQueue.take(queue)
    const whileTaken = ask(queue, "0:0")
    UploadQueue.finish(queue, taken!)
    const afterwards = ask(queue, "0:0")

    assert.deepStrictEqual([...results, ...whileTaken, ...afterwards], ["queued", "duplicate", "duplicate", "queued"])
  })

  it("refuses a request that begins like a queued one and ends elsewhere", () => {
    const queue = queueOf()
    ask(queue, "0:0")

    const result = UploadQueue.request(queue, 0 as PieceIndex, 0, 100)

    assert.strictEqual(result, "refused")
    assert.isFalse(UploadQueue.cancel(queue, 0 as PieceIndex, 0, 100))
    assert.deepStrictEqual(takeAll(queue), ["0:0"])
  })

  it("forgets what is cancelled", () => {
    const queue = queueOf()
    ask(queue, "0:0 0:1 0:2")

    const results = [cancel(queue, "0:1"), cancel(queue, "0:1"), cancel(queue, "0:7")]

    assert.deepStrictEqual(results, [true, false, false])
    assert.deepStrictEqual(takeAll(queue), ["0:0", "0:2"])
  })

  it("does not send a block that was cancelled while it was read, and reads it again for a new request", () => {
    const queue = queueOf()
    ask(queue, "0:0 0:1")
    const [first, second] = UploadQueue.take(queue)
    cancel(queue, "0:0")
    const again = ask(queue, "0:0")

    const isWanted = [UploadQueue.finish(queue, first!), UploadQueue.finish(queue, second!)]

    assert.deepStrictEqual(again, ["queued"])
    assert.deepStrictEqual(isWanted, [false, true])
    assert.deepStrictEqual(takeAll(queue), ["0:0"])
  })

  it("returns on choke what is to be rejected, in order, including what is being read", () => {
    const queue = queueOf()
    ask(queue, "0:0 3:0 2:0 2:1")
    const [taken] = UploadQueue.take(queue)

    const withdrawn = UploadQueue.choke(queue)

    assert.strictEqual(tell(withdrawn), "0:0 3:0 2:0 2:1")
    assert.isFalse(UploadQueue.finish(queue, taken!))
    assert.deepStrictEqual([queue.waiting, queue.requests.size], [0, 0])
  })

  it("keeps requests for the allowed fast set on choke, and accepts more of them (BEP 6)", () => {
    const queue = queueOf({ allowedFast: new Set([2 as PieceIndex]) })
    ask(queue, "0:0 2:0 1:0")

    const withdrawn = UploadQueue.choke(queue)
    const results = ask(queue, "2:1 0:1")

    assert.strictEqual(tell(withdrawn), "0:0 1:0")
    assert.deepStrictEqual(results, ["queued", "refused"])
    assert.deepStrictEqual(takeAll(queue), ["2:0 2:1"])
  })

  it("fault 31: refuses requests while choked, and distinguishes a flood from requests that cross with the choke", () => {
    const queue = queueOf({ maxRequests: 10 })
    UploadQueue.choke(queue)
    const crossing = Array.from({ length: 20 }, (_, index) => ask(queue, `${index}:0`)[0])
    const isFloodingEarly = UploadQueue.isFlooding(queue)

    ask(queue, "0:0")

    assert.isTrue(crossing.every((result) => result === "refused"))
    assert.isFalse(isFloodingEarly)
    assert.isTrue(UploadQueue.isFlooding(queue))
    assert.strictEqual(queue.requests.size, 0)
  })

  it("fault 31: counts anew after each unchoke, so that many chokes are no flood", () => {
    const queue = queueOf({ maxRequests: 10 })
    for (let turn = 0; turn < 10; turn++) {
      UploadQueue.choke(queue)
      for (let index = 0; index < 10; index++) ask(queue, `${index}:0`)
      UploadQueue.unchoke(queue)
    }

    assert.isFalse(UploadQueue.isFlooding(queue))
  })

  it("fault 31: counts anew after each accepted request, so that slightly too many are no flood", () => {
    const queue = queueOf({ maxRequests: 1 })
    for (let turn = 0; turn < 10; turn++) {
      ask(queue, `${turn}:0 ${turn}:1`)
      UploadQueue.finish(queue, UploadQueue.take(queue)[0]!)
    }

    assert.isFalse(UploadQueue.isFlooding(queue))
  })

  it("keeps no more requests than announced, including those being read", () => {
    const queue = queueOf({ maxRequests: 3 })
    ask(queue, "0:0 0:1")
    const [taken] = UploadQueue.take(queue)

    const full = ask(queue, "1:0 1:1")
    UploadQueue.finish(queue, taken!)
    const freed = ask(queue, "1:1")

    assert.deepStrictEqual([...full, ...freed], ["queued", "refused", "queued"])
  })

  it("answers each request exactly once, whatever is requested, cancelled, choked and read", () => {
    const action = fc.oneof(
      { weight: 6, arbitrary: fc.record({ tag: fc.constant("ask" as const), piece: fc.nat(2), block: fc.nat(7) }) },
      { weight: 2, arbitrary: fc.record({ tag: fc.constant("cancel" as const), piece: fc.nat(2), block: fc.nat(7) }) },
      { weight: 1, arbitrary: fc.record({ tag: fc.constantFrom("choke" as const, "unchoke" as const) }) },
      {
        weight: 3,
        arbitrary: fc.record({ tag: fc.constant("take" as const), blocks: fc.integer({ min: 1, max: 4 }) })
      },
      { weight: 3, arbitrary: fc.record({ tag: fc.constant("finish" as const) }) }
    )
    fc.assert(
      fc.property(fc.array(action, { maxLength: 200 }), (script) => {
        const allowedFast = new Set([2 as PieceIndex])
        const queue = queueOf({ maxRequests: 6, allowedFast })
        // The model: names in the order of their arrival, those being read, and what the reader holds.
        let waiting: Array<string> = []
        let reading: Array<string> = []
        const read: Array<UploadQueue.BlockRequest> = []
        let isChoking = false
        const isOut = (name: string) => waiting.includes(name) || reading.includes(name)
        for (const step of script) {
          const name = "piece" in step ? `${step.piece}:${step.block}` : ""
          if (step.tag === "ask") {
            const expected = isOut(name)
              ? "duplicate"
              : (isChoking && step.piece !== 2) || waiting.length + reading.length >= 6
                ? "refused"
                : "queued"
            assert.deepStrictEqual(ask(queue, name), [expected])
            if (expected === "queued") waiting.push(name)
          } else if (step.tag === "cancel") {
            assert.strictEqual(cancel(queue, name), isOut(name))
            waiting = waiting.filter((other) => other !== name)
            reading = reading.filter((other) => other !== name)
          } else if (step.tag === "choke") {
            const withdrawn = UploadQueue.choke(queue).map((request) => tell([request]))
            const lost = [...waiting, ...reading].filter((other) => !other.startsWith("2:"))
            assert.sameMembers(withdrawn, lost)
            waiting = waiting.filter((other) => other.startsWith("2:"))
            reading = reading.filter((other) => other.startsWith("2:"))
            isChoking = true
          } else if (step.tag === "unchoke") {
            UploadQueue.unchoke(queue)
            isChoking = false
          } else if (step.tag === "take") {
            const run = UploadQueue.take(queue, step.blocks * block)
            const taken = run.map((request) => tell([request]))
            assert.strictEqual(taken[0], waiting[0])
            for (const [index, request] of run.entries()) {
              assert.strictEqual(request.begin, run[0]!.begin + index * block)
              assert.include(waiting, taken[index]!)
            }
            assert.isAtMost(run.length, step.blocks)
            waiting = waiting.filter((other) => !taken.includes(other))
            reading.push(...taken)
            read.push(...run)
          } else {
            const request = read.shift()
            if (request === undefined) continue
            const done = tell([request])
            const isCurrent = request.state === "taken"
            assert.strictEqual(UploadQueue.finish(queue, request), isCurrent)
            if (isCurrent) {
              assert.include(reading, done)
              reading = reading.filter((other) => other !== done)
            }
          }
          assert.deepStrictEqual(
            [queue.waiting, queue.requests.size],
            [waiting.length, waiting.length + reading.length]
          )
        }
        const left = takeAll(queue, block)
        assert.deepStrictEqual(left, waiting)
      }),
      { numRuns: 300 }
    )
  })
})
