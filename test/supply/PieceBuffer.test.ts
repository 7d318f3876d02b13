import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as PieceBuffer from "../../src/supply/PieceBuffer.ts"
import { blockLength, contentOf, geometryOf, piece } from "../assembly/pieces.ts"
import { idOf } from "./ScriptedSupplier.ts"

const alice = idOf(1)
const bob = idOf(2)

const bufferOf = (length: number) => PieceBuffer.make(piece(0), new Uint8Array(length), 0)

const contentFor = (length: number) => contentOf(geometryOf(1, Math.ceil(length / blockLength), length), 0)

/** Puts the given blocks of `content`, each from `contributor`. */
const putAll = (buffer: PieceBuffer.PieceBuffer, content: Uint8Array, blocks: Iterable<number>, contributor = alice) =>
  Array.from(blocks, (block) =>
    PieceBuffer.put(
      buffer,
      block * blockLength,
      content.subarray(block * blockLength, (block + 1) * blockLength),
      contributor,
      0
    )
  )

describe("PieceBuffer", () => {
  it("counts blocks", () => {
    const buffer = bufferOf(4 * blockLength)

    putAll(buffer, contentFor(4 * blockLength), [2, 0])

    assert.strictEqual(buffer.blockCount, 4)
    assert.strictEqual(buffer.received.count, 2)
    assert.deepStrictEqual(PieceBuffer.missing(buffer), [1, 3])
    assert.isFalse(PieceBuffer.isComplete(buffer))
  })

  it("tells a duplicate, and keeps the first copy and its sender", () => {
    const buffer = bufferOf(2 * blockLength)
    const first = PieceBuffer.put(buffer, 0, new Uint8Array(blockLength).fill(1), alice, 5)

    const second = PieceBuffer.put(buffer, 0, new Uint8Array(blockLength).fill(2), bob, 9)

    assert.deepStrictEqual([first, second], [true, false])
    assert.strictEqual(buffer.bytes[0], 1)
    assert.deepStrictEqual([...PieceBuffer.contributorsOf(buffer)], [alice])
    assert.strictEqual(buffer.lastActivity, 5)
  })

  it("gives the piece in order, whatever the order of arrival", () => {
    const length = 7 * blockLength + 100
    const content = contentFor(length)
    const order = Array.from({ length: 8 }, (_, block) => block)
    fc.assert(
      fc.property(fc.shuffledSubarray(order, { minLength: 8 }), (arrival) => {
        const buffer = bufferOf(length)

        putAll(buffer, content, arrival)

        assert.isTrue(PieceBuffer.isComplete(buffer))
        assert.deepStrictEqual(buffer.bytes, content)
      }),
      { numRuns: 30 }
    )
  })

  it("names its contributors as a set", () => {
    const buffer = bufferOf(3 * blockLength)
    const content = contentFor(3 * blockLength)

    putAll(buffer, content, [0, 2], alice)
    putAll(buffer, content, [1], bob)

    assert.deepStrictEqual(PieceBuffer.contributorsOf(buffer), new Set([alice, bob]))
  })

  it("has no contributors before the first block", () => {
    assert.strictEqual(PieceBuffer.contributorsOf(bufferOf(blockLength)).size, 0)
  })

  it("completes an odd last piece of one block and 100 bytes", () => {
    const length = blockLength + 100
    const content = contentFor(length)
    const buffer = bufferOf(length)

    putAll(buffer, content, [1, 0])

    assert.strictEqual(PieceBuffer.sizeOf(buffer, 1), 100)
    assert.isTrue(PieceBuffer.isComplete(buffer))
    assert.deepStrictEqual(buffer.bytes, content)
    assert.deepStrictEqual(PieceBuffer.blockBytes(buffer, 1), content.subarray(blockLength))
  })

  it("fault 29: takes exactly its blocks for blocks", () => {
    const buffer = bufferOf(blockLength + 100)
    const tried: ReadonlyArray<readonly [begin: number, length: number]> = [
      [0, blockLength],
      [blockLength, 100],
      [1, blockLength],
      [blockLength - 1, 100],
      [0, blockLength - 1],
      [0, blockLength + 1],
      [blockLength, 99],
      [blockLength, blockLength],
      [2 * blockLength, 1],
      [2 ** 32 - blockLength, blockLength],
      [0, 0]
    ]

    const taken = tried.filter(([begin, length]) => PieceBuffer.isBlock(buffer, begin, length))

    assert.deepStrictEqual(taken, [
      [0, blockLength],
      [blockLength, 100]
    ])
  })

  it("gives the first block that is neither there nor asked for", () => {
    const buffer = bufferOf(4 * blockLength)
    putAll(buffer, contentFor(4 * blockLength), [0])
    PieceBuffer.request(buffer, 1)

    const before = PieceBuffer.nextFree(buffer)
    PieceBuffer.release(buffer, 1)
    const after = PieceBuffer.nextFree(buffer)

    assert.deepStrictEqual([before, after], [2, 1])
  })

  it("is partial exactly while it has a free block", () => {
    const partial = new Set<PieceBuffer.PieceBuffer>()
    const buffer = PieceBuffer.make(piece(0), new Uint8Array(2 * blockLength), 0, partial)
    const seen = [partial.has(buffer)]

    PieceBuffer.request(buffer, 0)
    PieceBuffer.request(buffer, 1)
    seen.push(partial.has(buffer))
    PieceBuffer.release(buffer, 0)
    seen.push(partial.has(buffer))
    PieceBuffer.close(buffer)
    PieceBuffer.release(buffer, 1)
    seen.push(partial.has(buffer))

    assert.deepStrictEqual(seen, [true, false, true, false])
  })

  it("takes nothing once its loan has ended, as its memory may belong to another piece", () => {
    const buffer = bufferOf(blockLength)
    PieceBuffer.close(buffer)

    const isTaken = PieceBuffer.put(buffer, 0, new Uint8Array(blockLength).fill(1), alice, 0)

    assert.isFalse(isTaken)
    assert.strictEqual(buffer.bytes[0], 0)
  })

  it("counts its free blocks right after any script of requests, releases and arrivals", () => {
    const step = fc.tuple(fc.constantFrom("request", "release", "put"), fc.nat(4))
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (script) => {
        const partial = new Set<PieceBuffer.PieceBuffer>()
        const five = PieceBuffer.make(piece(0), new Uint8Array(5 * blockLength), 0, partial)
        const out = [0, 0, 0, 0, 0]
        const there = new Set<number>()
        for (const [what, block] of script) {
          if (what === "request") {
            PieceBuffer.request(five, block)
            out[block]!++
          } else if (what === "release" && out[block]! > 0) {
            PieceBuffer.release(five, block)
            out[block]!--
          } else if (what === "put") {
            PieceBuffer.finish(five, block, alice, 0)
            there.add(block)
          }
          const free = out.flatMap((count, index) => (count === 0 && !there.has(index) ? [index] : []))

          assert.strictEqual(five.freeBlocks, free.length)
          assert.strictEqual(PieceBuffer.nextFree(five), free[0])
          assert.strictEqual(partial.has(five), free.length > 0)
        }
      })
    )
  })
})
