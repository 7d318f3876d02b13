import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Bytes from "../../../src/base/Bytes.ts"
import type { AnnounceRequest } from "../../../src/discovery/tracker/Tracker.ts"
import * as TrackerAnswer from "../../../src/discovery/tracker/TrackerAnswer.ts"
import * as UdpTrackerCodec from "../../../src/discovery/tracker/UdpTrackerCodec.ts"

const hex = (text: string) => Bytes.fromHex(text.replaceAll(" ", ""))!

const connectionId = hex("0123456789abcdef")
const transactionId = 0xfedc_ba98
const infoHash = hex("123456789abcdef123456789abcdef123456789a")

const request: AnnounceRequest = {
  infoHash,
  peerId: Bytes.fromText("-PW0100-abcdefghijkl"),
  port: 0xc8d5,
  uploaded: 1,
  downloaded: 0x1_0000_0002,
  left: Number.MAX_SAFE_INTEGER,
  event: undefined,
  numWant: 50,
  key: 0xdead_beef,
  trackerId: Bytes.fromText("not sent")
}

const announceOf = (change: Partial<AnnounceRequest>, urlData = "") =>
  UdpTrackerCodec.encodeAnnounce({ connectionId, transactionId, request: { ...request, ...change }, urlData })

/** Answers written by hand from the tables of BEP 15. */
const answers = {
  connect: hex("00000000 fedcba98 0123456789abcdef"),
  announce: hex("00000001 fedcba98 00000708 00000003 00000004 0a000001 1ae1 01020304 0050"),
  announce6: hex("00000001 fedcba98 00000708 00000003 00000004 20010db8000000000000000000000001 1ae1"),
  scrape: hex("00000002 fedcba98 00000005 00000006 00000007"),
  error: Bytes.concat([hex("00000003 fedcba98"), Bytes.fromText("unregistered torrent")])
}

describe("UdpTrackerCodec: requests", () => {
  it("encodes a request for a connection id as in BEP 15", () => {
    const packet = UdpTrackerCodec.encodeConnect(transactionId)

    assert.deepStrictEqual(packet, hex("0000041727101980 00000000 fedcba98"))
  })

  it("encodes an announce as in BEP 15", () => {
    const packet = announceOf({})

    assert.deepStrictEqual(
      packet,
      hex(
        "0123456789abcdef 00000001 fedcba98 123456789abcdef123456789abcdef123456789a" +
          "2d5057303130302d6162636465666768696a6b6c 0000000100000002 001fffffffffffff 0000000000000001" +
          "00000000 00000000 deadbeef 00000032 c8d5"
      )
    )
  })

  it.each([
    [undefined, 0],
    ["completed", 1],
    ["started", 2],
    ["stopped", 3]
  ] as const)("encodes the event %s as %i", (event, number) => {
    const packet = announceOf({ event })

    assert.strictEqual(Bytes.readUint32Unsafe(packet, 80), number)
  })

  it("adds the path and the query as an option (BEP 41)", () => {
    const packet = announceOf({}, "/announce?a=b")

    assert.deepStrictEqual(packet.subarray(98), Bytes.concat([hex("020d"), Bytes.fromText("/announce?a=b")]))
  })

  it.each([
    [254, [254]],
    [255, [255]],
    [256, [255, 1]],
    [600, [255, 255, 90]]
  ])("splits a path of %i bytes over options of %j", (length, expected) => {
    const path = "/".padEnd(length, "abcdefg")

    const options = announceOf({}, path).subarray(98)

    const lengths: Array<number> = []
    let text = ""
    for (let offset = 0; offset < options.length; offset += 2 + options[offset + 1]!) {
      assert.strictEqual(options[offset], 2)
      lengths.push(options[offset + 1]!)
      text += Bytes.toText(options.subarray(offset + 2, offset + 2 + options[offset + 1]!))
    }
    assert.deepStrictEqual(lengths, expected)
    assert.strictEqual(text, path)
  })

  it("encodes a scrape as in BEP 15", () => {
    const packet = UdpTrackerCodec.encodeScrape({ connectionId, transactionId, infoHash })

    assert.deepStrictEqual(packet, hex("0123456789abcdef 00000002 fedcba98 123456789abcdef123456789abcdef123456789a"))
  })
})

describe("UdpTrackerCodec.decode", () => {
  it("reads a connection id", () => {
    const answer = UdpTrackerCodec.decode(answers.connect, "ipv4")

    assert.deepStrictEqual(answer, { _tag: "Connected", transactionId, connectionId })
  })

  it("reads the answer to an announce", () => {
    const answer = UdpTrackerCodec.decode(answers.announce, "ipv4")

    assert.deepStrictEqual(answer, {
      _tag: "Announced",
      transactionId,
      response: {
        peers: [
          { host: "10.0.0.1", port: 6881 },
          { host: "1.2.3.4", port: 80 }
        ],
        intervalSeconds: 1800,
        minIntervalSeconds: undefined,
        seeders: 4,
        leechers: 3,
        trackerId: undefined,
        warning: undefined,
        externalHost: undefined
      }
    })
  })

  it("reads peers of 18 bytes if the tracker was asked over IPv6 (BEP 7)", () => {
    const answer = UdpTrackerCodec.decode(answers.announce6, "ipv6")

    assert.deepStrictEqual(answer?._tag === "Announced" && answer.response.peers, [{ host: "2001:db8::1", port: 6881 }])
  })

  it("reads the answer to a scrape", () => {
    const answer = UdpTrackerCodec.decode(answers.scrape, "ipv4")

    assert.deepStrictEqual(answer, {
      _tag: "Scraped",
      transactionId,
      response: { seeders: 5, leechers: 7, downloads: 6 }
    })
  })

  it("reads why the tracker refused", () => {
    const answer = UdpTrackerCodec.decode(answers.error, "ipv4")

    assert.deepStrictEqual(answer, { _tag: "Failed", transactionId, why: "refused: unregistered torrent" })
  })

  it("makes a reason safe for a terminal, and reports a missing one", () => {
    const reasonOf = (reason: Uint8Array) => {
      const answer = UdpTrackerCodec.decode(Bytes.concat([answers.error.subarray(0, 8), reason]), "ipv4")
      return answer?._tag === "Failed" && answer.why
    }

    assert.strictEqual(reasonOf(hex("1b5b324a6e6f0d0aff00")), "refused: [2Jno \ufffd")
    assert.strictEqual(reasonOf(new Uint8Array()), "refused: no reason given")
  })

  it.each([
    [0, TrackerAnswer.minIntervalSeconds],
    [61, 61],
    [0x8000_0000, TrackerAnswer.maxIntervalSeconds],
    [0xffff_ffff, TrackerAnswer.maxIntervalSeconds]
  ])("clamps an interval of %i to a sane one", (interval, expected) => {
    const packet = answers.announce.slice()
    Bytes.writeUint32Unsafe(packet, 8, interval)

    const answer = UdpTrackerCodec.decode(packet, "ipv4")

    assert.strictEqual(answer?._tag === "Announced" && answer.response.intervalSeconds, expected)
  })

  it("reads a count of -1 as absent", () => {
    const answer = UdpTrackerCodec.decode(hex("00000002 fedcba98 ffffffff 80000000 7fffffff"), "ipv4")

    assert.deepStrictEqual(answer?._tag === "Scraped" && answer.response, {
      seeders: undefined,
      leechers: 0x7fff_ffff,
      downloads: undefined
    })
  })

  it("drops addresses that cannot be dialled, and those beyond the limit", () => {
    const many = new Uint8Array(20 + 6 * (TrackerAnswer.maxPeers + 2)).fill(1)
    many.set(answers.announce.subarray(0, 20))
    many.set([0, 0, 0, 0, 0, 80], 20)

    const answer = UdpTrackerCodec.decode(many, "ipv4")

    const peers = answer?._tag === "Announced" ? answer.response.peers : []
    assert.strictEqual(peers.length, TrackerAnswer.maxPeers)
    assert.deepStrictEqual(peers[0], { host: "1.1.1.1", port: 257 })
  })

  it("returns nothing that points into the packet", () => {
    const packet = answers.connect.slice()
    const answer = UdpTrackerCodec.decode(packet, "ipv4")

    packet.fill(0)

    assert.deepStrictEqual(answer?._tag === "Connected" && answer.connectionId, connectionId)
  })

  it("reads a packet that lies in the middle of a buffer", () => {
    const buffer = new Uint8Array(100).fill(0xff)
    buffer.set(answers.scrape, 13)

    const answer = UdpTrackerCodec.decode(buffer.subarray(13, 13 + answers.scrape.length), "ipv4")

    assert.deepStrictEqual(answer, UdpTrackerCodec.decode(answers.scrape, "ipv4"))
  })

  it.each([
    ["connect", 16],
    ["scrape", 20]
  ] as const)(
    "reads nothing from an answer to a %s that is cut before byte %i, and ignores extra bytes",
    (kind, needed) => {
      const packet = Bytes.concat([answers[kind], new Uint8Array(3).fill(9)])
      const whole = UdpTrackerCodec.decode(answers[kind], "ipv4")

      for (let length = 0; length <= packet.length; length++) {
        const answer = UdpTrackerCodec.decode(packet.subarray(0, length), "ipv4")
        assert.deepStrictEqual(answer, length < needed ? undefined : whole, `${length} bytes`)
      }
    }
  )

  it("reads only whole peers from an announce answer that is cut anywhere", () => {
    for (let length = 0; length <= answers.announce.length; length++) {
      const answer = UdpTrackerCodec.decode(answers.announce.subarray(0, length), "ipv4")

      const rest = length - 20
      if (rest < 0) assert.isUndefined(answer)
      else if (rest % 6 === 0)
        assert.strictEqual(answer?._tag === "Announced" && answer.response.peers.length, rest / 6)
      else {
        const why = `the peers take ${rest} bytes, which is not a multiple of 6`
        assert.deepStrictEqual(answer, { _tag: "Failed", transactionId, why })
      }
    }
  })

  it("ignores unknown actions", () => {
    for (const action of [4, 0xff, 0x0100_0000, 0xffff_ffff]) {
      const packet = new Uint8Array(40)
      Bytes.writeUint32Unsafe(packet, 0, action)
      assert.isUndefined(UdpTrackerCodec.decode(packet, "ipv4"))
    }
  })

  it("never throws, and returns sane values or a one-line reason for any damaged answer", () => {
    const damaged = fc
      .tuple(
        fc.constantFrom(...Object.values(answers)),
        fc.array(fc.tuple(fc.nat(63), fc.nat(255)), { maxLength: 4 }),
        fc.uint8Array({ maxLength: 40 })
      )
      .map(([answer, changes, tail]) => {
        const packet = Bytes.concat([answer, tail])
        for (const [at, value] of changes) packet[at % packet.length] = value
        return packet
      })
    fc.assert(
      fc.property(
        fc.oneof(damaged, fc.uint8Array({ maxLength: 100 })),
        fc.constantFrom("ipv4", "ipv6"),
        (packet, family) => {
          const answer = UdpTrackerCodec.decode(packet, family)

          if (answer?._tag === "Failed") assert.notMatch(answer.why, /^$|\p{Cc}/u)
          if (answer?._tag === "Connected") {
            assert.strictEqual(answer.connectionId.length, UdpTrackerCodec.connectionIdLength)
          }
          if (answer?._tag === "Announced") {
            const { intervalSeconds, peers } = answer.response
            assert.isAtLeast(intervalSeconds, TrackerAnswer.minIntervalSeconds)
            assert.isAtMost(intervalSeconds, TrackerAnswer.maxIntervalSeconds)
            assert.isTrue(peers.every(({ port }) => port > 0 && port < 65_536))
          }
        }
      ),
      { numRuns: 2000 }
    )
  })
})
