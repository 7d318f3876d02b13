import { assert, describe, it } from "@effect/vitest"
import * as PieceGeometry from "../../src/base/PieceGeometry.ts"
import * as IncomingBlock from "../../src/supply/IncomingBlock.ts"
import * as PieceBuffer from "../../src/supply/PieceBuffer.ts"
import * as RequestPipeline from "../../src/supply/RequestPipeline.ts"
import type { SupplierId } from "../../src/supply/SupplierId.ts"
import { piece } from "../assembly/pieces.ts"
import { idOf } from "./ScriptedSupplier.ts"

const { blockLength } = PieceGeometry

/** A piece of two blocks, of which the second is requested from two peers, 1 and 2. */
const asked = () => {
  const buffer = PieceBuffer.make(piece(0), new Uint8Array(2 * blockLength), 0)
  const connect = (id: SupplierId) => {
    const pipeline = RequestPipeline.make(2, 0)
    const request = RequestPipeline.send(pipeline, buffer, 1, 0)
    return { id, pipeline, request, self: IncomingBlock.make() }
  }
  return { buffer, one: connect(idOf(1)), two: connect(idOf(2)) }
}

const bytes = (value: number) => new Uint8Array(blockLength).fill(value)

const placed = (buffer: PieceBuffer.PieceBuffer) => PieceBuffer.blockBytes(buffer, 1).slice()

describe("IncomingBlock", () => {
  it("goes straight to its place, part by part", () => {
    const { buffer, one } = asked()
    IncomingBlock.begin(one.self, one.request, one.id)

    IncomingBlock.write(one.self, one.request, 0, bytes(7).subarray(100))
    IncomingBlock.write(one.self, one.request, blockLength - 100, bytes(8).subarray(0, 100))
    const before = placed(buffer)
    const request = IncomingBlock.end(one.self, one.id)

    const right = bytes(7)
    right.fill(8, blockLength - 100)
    assert.deepStrictEqual(before, right)
    assert.strictEqual(request, one.request)
    assert.deepStrictEqual([one.self.request, buffer.writers[1]], [undefined, PieceBuffer.nobody])
  })

  it("is copied to its place once it is complete, if another peer is writing there", () => {
    const { buffer, one, two } = asked()
    IncomingBlock.begin(one.self, one.request, one.id)
    IncomingBlock.begin(two.self, two.request, two.id)

    IncomingBlock.write(one.self, one.request, 0, bytes(1).subarray(8_000))
    IncomingBlock.write(two.self, two.request, 0, bytes(2))
    const before = placed(buffer)
    const request = IncomingBlock.end(two.self, two.id)

    assert.strictEqual(before[0], 1)
    assert.deepStrictEqual(placed(buffer), bytes(2))
    assert.strictEqual(request, two.request)
    assert.strictEqual(buffer.writers[1], one.id)
  })

  it("does not touch a block that has arrived from another peer", () => {
    const { buffer, one, two } = asked()
    IncomingBlock.begin(one.self, one.request, one.id)
    IncomingBlock.begin(two.self, two.request, two.id)
    IncomingBlock.write(two.self, two.request, 0, bytes(2))
    IncomingBlock.end(two.self, two.id)
    PieceBuffer.finish(buffer, 1, two.id, 0)

    IncomingBlock.write(one.self, one.request, 0, bytes(1))
    IncomingBlock.end(one.self, one.id)

    assert.deepStrictEqual(placed(buffer), bytes(2))
  })

  it("ends without a request if that was released meanwhile", () => {
    const { buffer, one } = asked()
    IncomingBlock.begin(one.self, one.request, one.id)
    RequestPipeline.release(one.pipeline, 0, 1)

    const live = IncomingBlock.liveRequest(one.self)

    assert.isUndefined(live)
    assert.isUndefined(IncomingBlock.end(one.self, one.id))
    assert.strictEqual(buffer.writers[1], PieceBuffer.nobody)
  })

  it("frees its place when it is released", () => {
    const { buffer, one } = asked()
    IncomingBlock.begin(one.self, one.request, one.id)

    IncomingBlock.release(one.self, one.id)
    IncomingBlock.release(one.self, one.id)

    assert.deepStrictEqual([one.self.request, buffer.writers[1]], [undefined, PieceBuffer.nobody])
  })
})
