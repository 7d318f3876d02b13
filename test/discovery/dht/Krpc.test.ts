import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Bytes from "../../../src/base/Bytes.ts"
import * as CompactPeers from "../../../src/base/CompactPeers.ts"
import * as PeerAddress from "../../../src/base/PeerAddress.ts"
import * as Bencode from "../../../src/bencode/Bencode.ts"
import * as Krpc from "../../../src/discovery/dht/Krpc.ts"
import type { NodeId } from "../../../src/discovery/dht/NodeId.ts"
import * as NodeInfo from "../../../src/discovery/dht/NodeInfo.ts"
import * as Values from "../../../src/testing/arbitrary/Values.ts"

const bytes = (text: string) => Bytes.fromLatin1Unsafe(text)

const decode = (text: string) => Result.getOrThrow(Krpc.decode(bytes(text)))

const why = (message: Uint8Array) => Result.getOrThrow(Result.flip(Krpc.decode(message))).why

const idOf = (text: string) => bytes(text) as Uint8Array as NodeId

const id = Values.infoHash as unknown as fc.Arbitrary<NodeId>

const transaction = fc.uint8Array({ minLength: 1, maxLength: Krpc.maxTransactionBytes })

const want = fc.subarray<CompactPeers.Family>(["ipv4", "ipv6"])

const token = fc.uint8Array({ maxLength: Krpc.maxTokenBytes })

const question: fc.Arbitrary<Krpc.Question> = fc.oneof(
  fc.constant({ _tag: "ping" } as const),
  fc.record({ _tag: fc.constant("find_node" as const), target: id, want }),
  fc.record({
    _tag: fc.constant("get_peers" as const),
    target: id,
    want,
    noSeeds: fc.boolean(),
    scrape: fc.boolean()
  }),
  fc.record({
    _tag: fc.constant("announce_peer" as const),
    target: id,
    port: fc.integer({ min: 1, max: 65_535 }),
    impliedPort: fc.boolean(),
    isSeed: fc.boolean(),
    token
  })
)

/** An address whose compact form is read as what it was: not IPv4 inside IPv6. */
const address = Values.peerAddress

const ofFamily = (family: CompactPeers.Family) => address.filter((address) => CompactPeers.familyOf(address) === family)

const nodesOf = (family: CompactPeers.Family) =>
  fc.array(fc.record({ id, address: ofFamily(family) }), { maxLength: Krpc.maxNodes })

const filter = fc.uint8Array({ minLength: 256, maxLength: 256 })

describe("Krpc", () => {
  it("reads the examples of BEP 5", () => {
    const self = idOf("abcdefghij0123456789")
    const target = idOf("mnopqrstuvwxyz123456")
    const base = { _tag: "Query", transaction: bytes("aa"), id: self, isReadOnly: false }

    assert.deepStrictEqual(decode("d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe"), {
      ...base,
      question: { _tag: "ping" }
    } as Krpc.Message)
    assert.deepStrictEqual(
      decode("d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q9:find_node1:t2:aa1:y1:qe"),
      { ...base, question: { _tag: "find_node", target, want: [] } } as Krpc.Message
    )
    assert.deepStrictEqual(
      decode("d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e1:q9:get_peers1:t2:aa1:y1:qe"),
      { ...base, question: { _tag: "get_peers", target, want: [], noSeeds: false, scrape: false } } as Krpc.Message
    )
    assert.deepStrictEqual(
      decode(
        "d1:ad2:id20:abcdefghij012345678912:implied_porti1e9:info_hash20:mnopqrstuvwxyz1234564:porti6881e" +
          "5:token8:aoeusnthe1:q13:announce_peer1:t2:aa1:y1:qe"
      ),
      {
        ...base,
        question: {
          _tag: "announce_peer",
          target,
          port: 6881,
          impliedPort: true,
          isSeed: false,
          token: bytes("aoeusnth")
        }
      } as Krpc.Message
    )
    assert.deepStrictEqual(
      decode("d1:rd2:id20:abcdefghij01234567895:token8:aoeusnth6:valuesl6:axje.u6:idhtnmee1:t2:aa1:y1:re"),
      {
        _tag: "Response",
        transaction: bytes("aa"),
        id: self,
        seen: undefined,
        nodes: [],
        peers: [
          { host: "97.120.106.101", port: 0x2e75 },
          { host: "105.100.104.116", port: 0x6e6d }
        ],
        token: bytes("aoeusnth"),
        filters: undefined
      } as Krpc.Message
    )
    assert.deepStrictEqual(decode("d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee"), {
      _tag: "Failure",
      transaction: bytes("aa"),
      code: 201
    })
  })

  it("writes the ping of BEP 5, with our version", () => {
    const written = Krpc.encodeQuery({
      transaction: bytes("aa"),
      id: idOf("abcdefghij0123456789"),
      isReadOnly: false,
      question: { _tag: "ping" }
    })

    assert.strictEqual(
      Bytes.toLatin1(written),
      "d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:v4:PW\0\u00011:y1:qe"
    )
  })

  it("reads each query that it writes", () => {
    fc.assert(
      fc.property(transaction, id, fc.boolean(), question, (transaction, id, isReadOnly, question) => {
        const query = { transaction, id, isReadOnly, question }
        // A port that is implied need not be named.
        const written = Krpc.encodeQuery(query)

        assert.deepStrictEqual(Result.getOrThrow(Krpc.decode(written)), { _tag: "Query", ...query })
      })
    )
  })

  it("reads each response that it writes", () => {
    fc.assert(
      fc.property(
        fc.record({
          transaction,
          id,
          seen: address,
          nodes: nodesOf("ipv4"),
          nodes6: nodesOf("ipv6"),
          peers: fc.array(address, { maxLength: 10 }),
          token,
          filters: fc.option(fc.record({ seeds: filter, downloaders: filter }), { nil: undefined })
        }),
        ({ nodes, nodes6, peers, seen, ...rest }) => {
          const written = Krpc.encodeResponse({
            ...rest,
            seen,
            nodes: NodeInfo.encode(nodes, "ipv4"),
            nodes6: NodeInfo.encode(nodes6, "ipv6"),
            peers: peers.map(Krpc.compact)
          })
          if (written.length > Krpc.maxBytes) return

          const read = Result.getOrThrow(Krpc.decode(written))

          assert(read._tag === "Response")
          assert.deepStrictEqual({ ...read.seen! }, { ...seen })
          assert.deepStrictEqual(read.peers.map(PeerAddress.format), peers.map(PeerAddress.format))
          assert.deepStrictEqual([read.token, read.filters], [rest.token, rest.filters])
          assert.deepStrictEqual(
            read.nodes.map(({ address, id }) => [Bytes.toHex(id), PeerAddress.format(address)]),
            [...nodes, ...nodes6].map(({ address, id }) => [Bytes.toHex(id), PeerAddress.format(address)])
          )
        }
      )
    )
  })

  it("fault 59: returns its own error for whatever arrives, and throws none", () => {
    const damaged = fc
      .tuple(transaction, id, question, fc.array(fc.tuple(fc.nat(200), fc.nat(255)), { maxLength: 8 }), fc.nat(200))
      .map(([transaction, id, question, changes, cut]) => {
        const message = Krpc.encodeQuery({ transaction, id, isReadOnly: false, question })
        for (const [at, value] of changes) if (at < message.length) message[at] = value
        return cut < message.length && cut % 3 === 0 ? message.subarray(0, cut) : message
      })
    const others = Values.bencodeValue.map((value) => Bencode.encode(value as Bencode.Encodable))
    const fields = fc
      .dictionary(fc.constantFrom("t", "y", "q", "a", "r", "e", "ip", "ro", "v"), Values.bencodeValue)
      .map((root) => Bencode.encode({ t: "aa", y: "r", ...root } as Bencode.Encodable))
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }), damaged, others, fields), (input) => {
        const result = Krpc.decode(input)

        if (Result.isFailure(result)) assert.strictEqual(result.failure._tag, "piecewise/KrpcError")
      }),
      { numRuns: 2_000 }
    )
  })

  it("fault 59: refuses what is longer than any message, deeper, or has more values", () => {
    const base = { t: "aa", y: "q", q: "ping", a: { id: "abcdefghij0123456789" } }
    const fits = Krpc.maxBytes - Bencode.encode({ ...base, x: new Uint8Array(1_900) }).length + 1_900

    assert.isTrue(Result.isSuccess(Krpc.decode(Bencode.encode({ ...base, x: new Uint8Array(fits) }))))
    assert.match(why(Bencode.encode({ ...base, x: new Uint8Array(fits + 1) })), /longer than 2048 bytes/)
    assert.match(why(bytes(`d1:x${"l".repeat(40)}${"e".repeat(40)}1:t2:aa1:y1:qe`)), /nested deeper/)
    assert.match(why(bytes(`d1:t2:aa1:y1:q1:zl${"0:".repeat(500)}ee`)), /more than 400 values/)
  })

  it("fault 59: refuses ids, targets and lists of nodes of wrong lengths, and long transaction ids and tokens", () => {
    const query = (q: string, a: Bencode.Encodable, t: Bencode.Encodable = "aa") => Bencode.encode({ t, y: "q", q, a })
    const good = "abcdefghij0123456789"

    assert.match(why(query("ping", { id: "short" })), /no id/)
    assert.match(why(query("ping", { id: good }, new Uint8Array(33))), /no transaction id/)
    assert.match(why(query("find_node", { id: good, target: `${good}x` })), /no target/)
    assert.match(why(query("get_peers", { id: good })), /no info hash/)
    assert.match(why(query("announce_peer", { id: good, info_hash: good, port: 1 })), /no token/)
    for (const port of [0, -1, 65_536, "6881"]) {
      assert.match(why(query("announce_peer", { id: good, info_hash: good, port, token: "x" })), /no port/)
    }
    assert.match(
      why(query("announce_peer", { id: good, info_hash: good, port: 1, token: new Uint8Array(65) })),
      /no token/
    )
    assert.match(why(Bencode.encode({ t: "aa", y: "r", r: { id: good, nodes: new Uint8Array(27) } })), /whole entries/)
    assert.match(why(Bencode.encode({ t: "aa", y: "r", r: { id: good, nodes6: new Uint8Array(26) } })), /whole entries/)
  })

  it("takes no more nodes from a response than any node needs", () => {
    const nodes = Uint8Array.from({ length: 26 * 20 }, (_, index) => index % 251)

    const read = Result.getOrThrow(
      Krpc.decode(Bencode.encode({ t: "aa", y: "r", r: { id: "abcdefghij0123456789", nodes } }))
    )

    assert(read._tag === "Response")
    assert.strictEqual(read.nodes.length, Krpc.maxNodes)
  })

  it("keeps nothing of the datagram", () => {
    const datagram = bytes(
      "d1:rd2:id20:abcdefghij01234567895:nodes26:abcdefghij0123456789abcdef5:token2:aae1:t2:aa1:y1:re"
    )
    const read = Result.getOrThrow(Krpc.decode(datagram))
    const before = JSON.stringify(read)

    datagram.fill(0)

    assert.strictEqual(JSON.stringify(read), before)
  })

  it("writes errors that are shorter than any query", () => {
    const shortest = Krpc.encodeQuery({
      transaction: bytes("a"),
      id: idOf("abcdefghij0123456789"),
      isReadOnly: false,
      question: { _tag: "ping" }
    })
    for (const code of Object.values(Krpc.errors)) {
      assert.isBelow(Krpc.encodeFailure(bytes("a"), code).length, shortest.length)
    }
  })
})
