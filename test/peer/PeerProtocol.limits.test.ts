import { assert, describe } from "@effect/vitest"
import * as PeerProtocol from "../../src/peer/PeerProtocol.ts"
import * as RateLimiter from "../../src/rate/RateLimiter.ts"
import * as RateLimits from "../../src/rate/RateLimits.ts"
import { encodeAll } from "../../src/testing/WireMessage.ts"
import { asked, block, heard, makeAssembly, piece, refill, say, test, unchoked } from "./protocols.ts"

/** A torrent that may fetch two blocks a second: at once half a second's worth, and one. */
const limitsOf = () => {
  const limits = { downloadBytesPerSecond: 2 * block }
  return RateLimits.makeTorrent(RateLimits.makeEngine({}, 0), { torrent: limits }, 0)
}

/** What is granted to a peer and not used. */
const creditOf = ({ limits }: PeerProtocol.PeerProtocol) => limits.download.credit

const grant = (limits: RateLimits.TorrentLimits, now: number) => RateLimiter.step(limits.download.parent!, now)

describe("PeerProtocol, limited", () => {
  test("requests what it may, and more when it is woken", function* () {
    const limits = limitsOf()
    const protocol = yield* unchoked(yield* makeAssembly(), 0, { limits })
    const first = asked(heard(protocol))
    const before = protocol.woken.times

    grant(limits, 1_000)
    yield* refill(protocol, 1_000)

    assert.deepStrictEqual([first.length, asked(heard(protocol)).length], [2, 2])
    assert.strictEqual(protocol.woken.times, before + 1)
  })

  test("leaves to others what it was granted when it is choked", function* () {
    const limits = limitsOf()
    const protocol = yield* unchoked(yield* makeAssembly(), 0, { isFast: false, limits })
    grant(limits, 1_000)
    const granted = creditOf(protocol)

    say(protocol, [{ _tag: "Choke" }], 1_000)
    yield* refill(protocol)

    assert.deepStrictEqual([granted, creditOf(protocol)], [2 * block, 0])
    assert.isFalse(RateLimiter.isWaitedFor(limits.download))
  })

  test("leaves to others what it was granted when it may request no more", function* () {
    const limits = limitsOf()
    const protocol = yield* unchoked(yield* makeAssembly(), 0, { limits })
    grant(limits, 1_000)
    protocol.pipeline.isSnubbed = true

    yield* refill(protocol, 1_000)

    assert.deepStrictEqual([creditOf(protocol), RateLimiter.isWaitedFor(limits.download)], [0, false])
  })

  test("waits for nothing when there is nothing to request, whoever else waits", function* () {
    const limits = limitsOf()
    const assembly = yield* makeAssembly({ stored: [1, 2, 3] })
    const first = yield* unchoked(assembly, 0, { limits })
    const [second, third] = [yield* unchoked(assembly, 1, { limits }), yield* unchoked(assembly, 2, { limits })]
    // All blocks of the one missing piece are out, each three times.
    for (let now = 1_000; now < 20_000; now += 1_000) {
      grant(limits, now)
      for (const protocol of [first, second, third])
        if (!assembly.idleSuppliers.has(protocol)) yield* refill(protocol, now)
    }

    assert.isFalse(RateLimiter.isWaitedFor(limits.download))
    assert.strictEqual(assembly.idleSuppliers.size, 3)
  })

  test("does not return the bytes of a block that has begun to arrive", function* () {
    const limits = limitsOf()
    const protocol = yield* unchoked(yield* makeAssembly(), 0, { limits })
    const before = limits.download.tokens
    const [name] = asked(heard(protocol))
    const [index, at] = name!.split(":").map(Number)
    PeerProtocol.receive(protocol, encodeAll([piece(index!, at!)]).subarray(0, 1_000), 0)

    yield* PeerProtocol.close(protocol)

    assert.strictEqual(limits.download.tokens - before, block)
  })

  test("pays for bytes that were not requested", function* () {
    const limits = limitsOf()
    const protocol = yield* unchoked(yield* makeAssembly(), 0, { limits })
    const before = limits.download.tokens

    say(protocol, [piece(3, 0), piece(3, 1)], 0)

    assert.strictEqual(before - limits.download.tokens, 2 * block)
  })

  test("returns everything when the peer is gone", function* () {
    const limits = limitsOf()
    const protocol = yield* unchoked(yield* makeAssembly(), 0, { limits })

    yield* PeerProtocol.close(protocol)

    assert.deepStrictEqual([limits.download.tokens, limits.peers?.size], [block, 0])
    assert.isFalse(RateLimiter.isWaitedFor(limits.download))
  })
})
