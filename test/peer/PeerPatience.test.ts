import { assert, describe, it } from "@effect/vitest"
import * as PeerPatience from "../../src/peer/PeerPatience.ts"
import { failureOf } from "./protocols.ts"

const whyOf = (step: () => void) => failureOf(step)?.why

describe("PeerPatience", () => {
  it.each([
    ["blocks that nobody requested", PeerPatience.unaskedBlock, PeerPatience.maxUnaskedBlocks],
    ["requests for pieces that nobody offered", PeerPatience.wrongRequest, PeerPatience.maxWrongRequests],
    ["it rejects every request", PeerPatience.reject, PeerPatience.maxRejects]
  ])("ends with one too many: %s", (why, note, most) => {
    const self = PeerPatience.make(0)
    for (let count = 0; count < most; count++) note(self)

    const failure = whyOf(() => note(self))

    assert.strictEqual(failure, why)
  })

  it("bears one unrequested block more for each useful one", () => {
    const self = PeerPatience.make(0)
    for (let count = 0; count < 1_000; count++) {
      PeerPatience.useful(self)
      PeerPatience.unaskedBlock(self)
    }

    const failures = Array.from({ length: PeerPatience.maxUnaskedBlocks + 1 }, () =>
      whyOf(() => PeerPatience.unaskedBlock(self))
    )

    assert.strictEqual(failures.indexOf("blocks that nobody requested"), PeerPatience.maxUnaskedBlocks)
  })

  it("bears no more unrequested blocks for blocks that were requested and not new", () => {
    const self = PeerPatience.make(0)
    for (let count = 0; count < PeerPatience.maxUnaskedBlocks; count++) {
      PeerPatience.answer(self)
      PeerPatience.unaskedBlock(self)
    }

    assert.strictEqual(
      whyOf(() => PeerPatience.unaskedBlock(self)),
      "blocks that nobody requested"
    )
  })

  it("counts a peer that goes on rejecting as snubbed, until it answers", () => {
    const self = PeerPatience.make(0)
    const many = Array.from({ length: PeerPatience.rejectsUntilSnubbed }, () => PeerPatience.reject(self))

    PeerPatience.answer(self)

    assert.deepStrictEqual([many.indexOf(true), PeerPatience.reject(self)], [many.length - 1, false])
  })

  it("ends a minute after a peer was snubbed, unless it came back meanwhile", () => {
    const self = PeerPatience.make(0)
    PeerPatience.noteSnubbed(self, true, 10_000)
    PeerPatience.noteSnubbed(self, true, 20_000)

    const failures = [69_999, 70_000].map((now) => whyOf(() => PeerPatience.check(self, true, 0, now)))
    PeerPatience.noteSnubbed(self, false, 71_000)

    assert.deepStrictEqual(failures, [undefined, "it sent no requested block for a minute"])
    assert.isUndefined(whyOf(() => PeerPatience.check(self, false, 0, 179_999)))
  })

  it("ends with a silent peer, and with one that leaves too much unread or for too long", () => {
    const silent = PeerPatience.make(0)
    const blocked = { ...PeerPatience.make(0), blockedSince: 5_000 }

    const failures = [
      whyOf(() => PeerPatience.check(silent, false, 0, PeerPatience.silentAfter)),
      whyOf(() => PeerPatience.check(silent, false, 1e9, 1)),
      whyOf(() => PeerPatience.check(blocked, false, 0, 5_000 + PeerPatience.blockedFor)),
      whyOf(() => PeerPatience.check(blocked, false, PeerPatience.maxWaiting + 1, 6_000))
    ]

    const unread = "it does not read what is sent to it"
    assert.deepStrictEqual(failures, ["it was silent for 3 minutes", undefined, unread, unread])
  })
})
