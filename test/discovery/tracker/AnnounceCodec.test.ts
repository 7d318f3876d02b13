import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Bytes from "../../../src/base/Bytes.ts"
import * as CompactPeers from "../../../src/base/CompactPeers.ts"
import * as Bencode from "../../../src/bencode/Bencode.ts"
import * as AnnounceCodec from "../../../src/discovery/tracker/AnnounceCodec.ts"
import type { AnnounceRequest } from "../../../src/discovery/tracker/Tracker.ts"
import * as TrackerAnswer from "../../../src/discovery/tracker/TrackerAnswer.ts"

const request: AnnounceRequest = {
  // The example of an escaped info hash in the specification at wiki.theory.org.
  infoHash: Bytes.fromHex("123456789abcdef123456789abcdef123456789a")!,
  peerId: Bytes.fromText("-PW0100-ab.~_-d 01%&"),
  port: 6889,
  uploaded: 1,
  downloaded: 9_007_199_254_740_991,
  left: 0,
  event: undefined,
  numWant: 50,
  key: 0xbeef,
  trackerId: undefined
}

const decoded = (answer: Bencode.Encodable | string) => {
  const bytes = typeof answer === "string" ? Bytes.fromLatin1Unsafe(answer) : Bencode.encode(answer)
  return Result.getOrThrow(AnnounceCodec.decode(bytes))
}

const refused = (answer: Bencode.Encodable | string) => {
  const bytes = typeof answer === "string" ? Bytes.fromLatin1Unsafe(answer) : Bencode.encode(answer)
  return Result.getOrThrow(Result.flip(AnnounceCodec.decode(bytes)))
}

describe("AnnounceCodec.toUrl", () => {
  it("escapes the bytes of the info hash and the peer id", () => {
    const url = AnnounceCodec.toUrl("http://t.example/announce", request)

    assert.strictEqual(
      url,
      "http://t.example/announce" +
        "?info_hash=%124Vx%9A%BC%DE%F1%23Eg%89%AB%CD%EF%124Vx%9A" +
        "&peer_id=-PW0100-ab.~_-d%2001%25%26" +
        "&port=6889&uploaded=1&downloaded=9007199254740991&left=0&compact=1&no_peer_id=1&numwant=50&key=0000beef"
    )
  })

  it("adds the event and the tracker's id", () => {
    const url = AnnounceCodec.toUrl("http://t.example/announce", {
      ...request,
      event: "completed",
      trackerId: Uint8Array.of(0, 38, 97)
    })

    assert.isTrue(url.endsWith("&event=completed&trackerid=%00%26a"))
  })

  it.each([
    [undefined, ""],
    ["off", ""],
    ["prefer", "&supportcrypto=1"],
    ["require", "&supportcrypto=1&requirecrypto=1"]
  ] as const)("says that encryption is %s as other clients do", (encryption, end) => {
    const [without, url] = [request, { ...request, encryption }].map((asked) =>
      AnnounceCodec.toUrl("http://t.example/announce", asked)
    )

    assert.strictEqual(url, `${without}${end}`)
  })

  it.each([
    ["http://t.example/announce?passkey=a%20b", "http://t.example/announce?passkey=a%20b&info_hash="],
    ["http://t.example/announce?", "http://t.example/announce?info_hash="],
    ["http://t.example/announce?x=1&", "http://t.example/announce?x=1&info_hash="],
    ["http://t.example/announce#part?", "http://t.example/announce?info_hash="]
  ])("keeps the query of %s", (trackerUrl, beginning) => {
    const url = AnnounceCodec.toUrl(trackerUrl, request)

    assert.strictEqual(url.slice(0, beginning.length), beginning)
  })

  it("makes a URL that a URL parser does not change, and from which every byte can be decoded", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 20, maxLength: 20 }), (infoHash) => {
        const url = AnnounceCodec.toUrl("http://t.example/announce", { ...request, infoHash })

        const escaped = /info_hash=([^&]*)/.exec(url)![1]!
        const bytes = escaped.replace(/%(..)/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)))
        assert.deepStrictEqual(Bytes.fromLatin1Unsafe(bytes), Uint8Array.from(infoHash))
        assert.strictEqual(new URL(url).href, url)
      })
    )
  })
})

describe("AnnounceCodec.decode", () => {
  it("reads compact peers, as BEP 23 lays them out", () => {
    const answer = decoded(
      "d8:completei3e10:incompletei4e8:intervali900e5:peers12:\x0a\x00\x00\x01\x1a\xe1\x01\x02\x03\x04\x00\x50e"
    )

    assert.deepStrictEqual(answer, {
      peers: [
        { host: "10.0.0.1", port: 6881 },
        { host: "1.2.3.4", port: 80 }
      ],
      intervalSeconds: 900,
      minIntervalSeconds: undefined,
      seeders: 3,
      leechers: 4,
      trackerId: undefined,
      warning: undefined,
      externalHost: undefined
    })
  })

  it("reads which compact peers require encryption, by their places", () => {
    const peers = CompactPeers.encode([1, 2, 3, 4].map((last) => ({ host: `1.2.3.${last}`, port: 80 }))).ipv4
    // The second does not listen, and the third has port 1, which clients announce that do not listen.
    peers.set([0, 0], 10)
    peers.set([0, 1], 16)

    const preferring = [
      [0, 1, 1, 1],
      [1, 1, 0, 0],
      [0, 0, 0, 255],
      [0, 0, 0, 0]
    ].map((flags) => decoded({ peers, crypto_flags: Uint8Array.from(flags) }).preferringEncryption)

    const hosts = preferring.map((addresses) => addresses?.map(({ host }) => host))
    assert.deepStrictEqual(hosts, [["1.2.3.4"], ["1.2.3.1"], ["1.2.3.4"], undefined])
  })

  it("ignores flags of encryption that do not suit the peers", () => {
    const peers = CompactPeers.encode([{ host: "1.2.3.4", port: 80 }]).ipv4
    const list = [{ ip: "1.2.3.4", port: 80 }]

    for (const [given, flags] of [
      [peers, Uint8Array.of(1, 1)],
      [peers, new Uint8Array(0)],
      [peers, 1],
      [peers, [1]],
      [list, Uint8Array.of(1)],
      [undefined, Uint8Array.of(1)]
    ] as const) {
      assert.isUndefined(decoded({ peers: given, crypto_flags: flags }).preferringEncryption)
    }
  })

  it("reads peers as a list of dictionaries, and skips entries without a valid address", () => {
    const answer = decoded({
      interval: 1800,
      peers: [
        { "peer id": "x".repeat(20), ip: "9.8.7.6", port: 2 },
        // What clients announce that do not listen.
        { ip: "9.8.7.5", port: 1 },
        { ip: "2001:DB8:0::1", port: 65_535 },
        { ip: "peer.Example", port: 5 },
        { ip: "1.2.3.4", port: 0 },
        { ip: "1.2.3.4", port: 65_536 },
        { ip: "a b", port: 5 },
        { ip: "0x7f.1", port: 5 },
        { port: 5 },
        "peer",
        { ip: "1.2.3.4", port: "80" }
      ]
    })

    assert.deepStrictEqual(answer.peers, [
      { host: "9.8.7.6", port: 2 },
      { host: "2001:db8::1", port: 65_535 },
      { host: "peer.example", port: 5 }
    ])
  })

  it("reads IPv6 peers besides IPv4 peers (BEP 7)", () => {
    const peers6 = Uint8Array.from([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x1a, 0xe1])

    const answer = decoded({ peers: Uint8Array.of(1, 2, 3, 4, 0, 80), peers6 })

    assert.deepStrictEqual(answer.peers, [
      { host: "1.2.3.4", port: 80 },
      { host: "2001:db8::1", port: 6881 }
    ])
  })

  it("drops addresses that cannot be dialled", () => {
    const peers = Uint8Array.of(0, 0, 0, 0, 0, 80, 224, 0, 0, 1, 0, 80, 255, 255, 255, 255, 0, 80, 1, 2, 3, 4, 0, 0)

    const answer = decoded({ peers })

    assert.deepStrictEqual(answer.peers, [])
  })

  it("accepts at most `maxPeers` addresses", () => {
    const answer = decoded({ peers: new Uint8Array(6 * (TrackerAnswer.maxPeers + 1)).fill(1) })

    assert.strictEqual(answer.peers.length, TrackerAnswer.maxPeers)
  })

  it("reads an answer without peers and interval as no peers and the default interval", () => {
    const answer = decoded({})

    assert.deepStrictEqual(answer.peers, [])
    assert.strictEqual(answer.intervalSeconds, TrackerAnswer.defaultIntervalSeconds)
  })

  it.each([
    ["0", "i0e", TrackerAnswer.minIntervalSeconds],
    ["-1800", "i-1800e", TrackerAnswer.minIntervalSeconds],
    ["59", "i59e", TrackerAnswer.minIntervalSeconds],
    ["60", "i60e", 60],
    ["61", "i61e", 61],
    ["21600", "i21600e", TrackerAnswer.maxIntervalSeconds],
    ["21601", "i21601e", TrackerAnswer.maxIntervalSeconds],
    ["2^31", "i2147483648e", TrackerAnswer.maxIntervalSeconds],
    ["2^64", "i18446744073709551616e", TrackerAnswer.maxIntervalSeconds],
    ["a text", "4:1800", TrackerAnswer.defaultIntervalSeconds]
  ])("fault 57: clamps an interval of %s to a sane one", (_, value, expected) => {
    const answer = decoded(`d8:interval${value}5:peers0:e`)

    assert.strictEqual(answer.intervalSeconds, expected)
  })

  it("never waits less than the min interval", () => {
    const both = decoded({ interval: 1800, "min interval": 300 })
    const contradiction = decoded({ interval: 300, "min interval": 1800 })
    const zero = decoded({ interval: 1800, "min interval": 0 })

    assert.deepStrictEqual([both.intervalSeconds, both.minIntervalSeconds], [1800, 300])
    assert.deepStrictEqual([contradiction.intervalSeconds, contradiction.minIntervalSeconds], [1800, 1800])
    assert.strictEqual(zero.minIntervalSeconds, TrackerAnswer.minIntervalSeconds)
  })

  it("reads the tracker id, the warning and our address (BEP 24)", () => {
    const answer = decoded({
      "tracker id": Uint8Array.of(0, 255),
      "warning message": "you are slow",
      "external ip": Uint8Array.of(9, 8, 7, 6)
    })

    assert.deepStrictEqual(answer.trackerId, Uint8Array.of(0, 255))
    assert.strictEqual(answer.warning, "you are slow")
    assert.strictEqual(answer.externalHost, "9.8.7.6")
  })

  it("reads our IPv6 address, and ignores one of the wrong length", () => {
    const v6 = decoded({ "external ip": Uint8Array.from({ length: 16 }, (_, index) => (index === 15 ? 1 : 0x20)) })
    const bad = decoded({ "external ip": "1.2.3.4" })

    assert.strictEqual(v6.externalHost, "2020:2020:2020:2020:2020:2020:2020:2001")
    assert.strictEqual(bad.externalHost, undefined)
  })

  it("fault 57: a tracker id that is too long for a URL counts as absent", () => {
    const longest = new Uint8Array(AnnounceCodec.maxTrackerIdLength)
    const idOf = (id: Uint8Array) =>
      Result.getOrThrow(AnnounceCodec.decode(Bencode.encode({ "tracker id": id }))).trackerId

    assert.deepStrictEqual(idOf(longest), longest)
    assert.isUndefined(idOf(new Uint8Array(AnnounceCodec.maxTrackerIdLength + 1)))
  })

  it("returns nothing that points into the answer", () => {
    const bytes = Bencode.encode({ "tracker id": "abc" })
    const answer = Result.getOrThrow(AnnounceCodec.decode(bytes))

    bytes.fill(0)

    assert.deepStrictEqual(answer.trackerId, Bytes.fromText("abc"))
  })

  it("ignores what follows the dictionary", () => {
    const answer = decoded("d8:intervali900e5:peers0:e\r\n")

    assert.strictEqual(answer.intervalSeconds, 900)
  })

  it("reports why the tracker refused", () => {
    const failure = refused({ "failure reason": "unregistered torrent", peers: "" })

    assert.strictEqual(failure.why, "refused: unregistered torrent")
    assert.strictEqual(failure.retryAfter, undefined)
  })

  it.each([
    ["i30e", 1800],
    ["5:never", "never"],
    ["2:30", 1800],
    ["i99999999999e", AnnounceCodec.maxRetrySeconds],
    ["i0e", undefined],
    ["i-5e", undefined],
    ["4:soon", undefined]
  ])("reads `retry in` %s (BEP 31)", (value, expected) => {
    const failure = refused(`d14:failure reason2:no8:retry in${value}e`)

    assert.strictEqual(failure.retryAfter, expected)
  })

  it("fault 57: makes a binary failure reason readable and safe for a terminal", () => {
    const failure = refused({
      "failure reason": Bytes.concat([
        Uint8Array.of(0x1b),
        Bytes.fromText("[2Jno\u202e\r\nway"),
        Uint8Array.of(0xff, 0, 0x9b)
      ])
    })

    assert.strictEqual(failure.why, "refused: [2Jno way\ufffd \ufffd")
  })

  it("fault 57: truncates a long failure reason", () => {
    const failure = refused({ "failure reason": "\u{1f980}".repeat(100_000) })

    assert.strictEqual(failure.why, `refused: ${"\u{1f980}".repeat(200)}`)
  })

  it.each([
    ["an empty reason", "d14:failure reason0:e", "refused: no reason given"],
    ["a reason that is a number", "d14:failure reasoni5ee", "refused: no reason given"],
    ["nothing", "", "the answer is empty"],
    ["a web page", "\r\n<!DOCTYPE html><html></html>", "the answer is a web page"],
    ["text", "not found", "the answer is not a tracker response"],
    ["a list", "le", "the answer is not a tracker response"],
    ["half an answer", "d8:intervali900e5:peers6:\x01\x02", "the answer is not a tracker response"],
    ["peers of 7 bytes", "d5:peers7:abcdefge", "the peers take 7 bytes, which is not a multiple of 6"],
    ["IPv6 peers of 6 bytes", "d6:peers66:abcdefe", "the IPv6 peers take 6 bytes, which is not a multiple of 18"],
    ["peers that are a number", "d5:peersi5ee", "the peers are neither a list nor compact"],
    ["a depth bomb", `d5:peers${"l".repeat(100_000)}`, "the answer is not a tracker response"]
  ])("fault 57: refuses %s with a readable reason", (_, answer, why) => {
    const failure = refused(answer)

    assert.strictEqual(failure.message, why)
  })

  it("never throws, and returns sane values or a one-line reason for any bytes", () => {
    const value: fc.Arbitrary<Bencode.Encodable> = fc.oneof(
      fc.bigInt({ min: -(2n ** 65n), max: 2n ** 65n }),
      fc.uint8Array({ maxLength: 40 }),
      fc.array(fc.dictionary(fc.constantFrom("ip", "port"), fc.oneof(fc.string(), fc.integer())), { maxLength: 3 })
    )
    const keys = [
      ...["interval", "min interval", "peers", "peers6", "complete", "incomplete", "tracker id", "warning message"],
      ...["external ip", "failure reason", "retry in"]
    ]
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.dictionary(fc.constantFrom(...keys), value).map((answer) => Bencode.encode(answer))
    )
    fc.assert(
      fc.property(bytes, (answer) => {
        Result.match(AnnounceCodec.decode(answer), {
          onFailure: ({ why }) => assert.notMatch(why, /^$|\p{Cc}/u),
          onSuccess: ({ intervalSeconds, minIntervalSeconds, peers }) => {
            assert.isAtLeast(intervalSeconds, TrackerAnswer.minIntervalSeconds)
            assert.isAtMost(intervalSeconds, TrackerAnswer.maxIntervalSeconds)
            assert.isAtMost(minIntervalSeconds ?? 0, intervalSeconds)
            assert.isTrue(peers.every(({ port }) => Number.isInteger(port) && port > 0 && port < 65_536))
          }
        })
      }),
      { numRuns: 500 }
    )
  })
})
