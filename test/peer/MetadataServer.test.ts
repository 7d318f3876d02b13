import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Bytes from "../../src/base/Bytes.ts"
import * as MetadataServer from "../../src/peer/MetadataServer.ts"
import * as MetadataMessage from "../../src/wire/extension/MetadataMessage.ts"

/** An info dict of two pieces and a half. */
const info = Uint8Array.from({ length: 2.5 * MetadataMessage.pieceLength }, (_, index) => index * 7 + (index >>> 8))

/** Everything that is owed. */
const given = (server: MetadataServer.MetadataServer) => {
  const answers: Array<Extract<MetadataMessage.MetadataMessage, { _tag: "Data" }>> = []
  for (let answer = MetadataServer.next(server); answer !== undefined; answer = MetadataServer.next(server)) {
    answers.push(answer)
  }
  return answers
}

describe("MetadataServer", () => {
  it("sends the requested pieces in order, with the size of the info dict", () => {
    const server = MetadataServer.make(info)

    const replies = [0, 1, 2].map((piece) => MetadataServer.request(server, piece))
    const answers = given(server)

    assert.deepStrictEqual(replies, ["wait", "wait", "wait"])
    assert.deepStrictEqual(Bytes.concat(answers.map(({ bytes }) => bytes)), info)
    assert.deepStrictEqual(
      answers.map(({ piece, totalSize }) => [piece, totalSize]),
      [0, 1, 2].map((piece) => [piece, info.length])
    )
  })

  it("rejects every request while we have no info dict", () => {
    const server = MetadataServer.make(undefined)

    assert.strictEqual(MetadataServer.request(server, 0), "reject")
    assert.isUndefined(MetadataServer.next(server))
  })

  it("fault 36: rejects a piece past the end", () => {
    const server = MetadataServer.make(info)

    for (const piece of [3, 4, 1_024, Number.MAX_SAFE_INTEGER]) {
      assert.strictEqual(MetadataServer.request(server, piece), "reject")
    }
    assert.isUndefined(MetadataServer.next(server))
  })

  it("owes a piece once, however often it is requested before it is sent", () => {
    const server = MetadataServer.make(info)

    for (let count = 0; count < 1_000; count++) MetadataServer.request(server, 1)

    assert.deepStrictEqual(
      given(server).map(({ piece }) => piece),
      [1]
    )
  })

  it("sends the info dict four times over, and rejects from then on", () => {
    const server = MetadataServer.make(info)
    const replies: Array<string> = []

    for (let count = 0; count < 13; count++) {
      replies.push(MetadataServer.request(server, count % 3))
      MetadataServer.next(server)
    }

    assert.deepStrictEqual(replies, [...Array.from({ length: 12 }, () => "wait"), "reject"])
  })

  it("fault 36: drops a peer that goes on after it was rejected 256 times", () => {
    const server = MetadataServer.make(undefined)

    for (let count = 0; count < MetadataServer.maxRejects; count++) {
      assert.strictEqual(MetadataServer.request(server, count), "reject")
    }
    assert.strictEqual(MetadataServer.request(server, 0), "drop")
  })

  it("never owes more than one info dict, and never sends more than four", () => {
    const command = fc.oneof(
      { weight: 3, arbitrary: fc.nat(4) },
      { weight: 1, arbitrary: fc.constant("next" as const) }
    )
    fc.assert(
      fc.property(fc.array(command, { maxLength: 200 }), (commands) => {
        const server = MetadataServer.make(info)
        let bytes = 0
        for (const next of commands) {
          if (next === "next") bytes += MetadataServer.next(server)?.bytes.length ?? 0
          else MetadataServer.request(server, next)
          assert.isAtMost(server.waiting.size, 3)
        }
        for (const answer of given(server)) bytes += answer.bytes.length

        assert.isAtMost(bytes, MetadataServer.maxCopies * 3 * MetadataMessage.pieceLength)
      })
    )
  })
})
