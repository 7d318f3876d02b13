import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as fc from "fast-check"
import * as InfoHash from "../../src/base/InfoHash.ts"
import type { Reach } from "../../src/base/Reach.ts"
import * as Magnet from "../../src/metainfo/Magnet.ts"
import * as Values from "../../src/testing/arbitrary/Values.ts"

const hex = "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d"
const base32 = "VL2MMHO4YXUKFWV63YHTWSBM3GXKSQ2N"
const hexV2 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
const xt = `xt=urn:btih:${hex}`

const parse = (text: string) => Result.getOrThrow(Magnet.parse(text))

const refusal = (text: string): string =>
  Result.match(Magnet.parse(text), {
    onSuccess: () => assert.fail(`${text} was taken`),
    onFailure: ({ message }) => message
  })

const hashOf = (text: string) => {
  const { infoHash } = parse(text)
  return infoHash === undefined ? undefined : InfoHash.toHex(infoHash)
}

describe("Magnet.parse", () => {
  it("reads all that BEP 9 puts in a link", () => {
    const magnet = parse(
      `magnet:?${xt}&dn=A+name%20%28%C3%A9%29&tr=udp%3A%2F%2Ft.example%3A80%2Fannounce&ws=http%3A%2F%2Fw.example%2F` +
        `&xs=http%3A%2F%2Fx.example%2Ft.torrent&as=https%3A%2F%2Fa.example%2Ft&xs=urn%3Abtpk%3A00` +
        `&x.pe=192.0.2.1:6881&x.pe=[2001:db8::1]:6882&x.pe=peer.example:6883`
    )

    assert.deepStrictEqual(magnet, {
      infoHash: InfoHash.fromHex(hex),
      infoHashV2: undefined,
      name: "A name (é)",
      trackers: ["udp://t.example:80/announce"],
      webSeeds: ["http://w.example/"],
      exactSources: ["http://x.example/t.torrent"],
      acceptableSources: ["https://a.example/t"],
      peers: [
        { host: "192.0.2.1", port: 6881 },
        { host: "2001:db8::1", port: 6882 },
        { host: "peer.example", port: 6883 }
      ],
      select: undefined
    })
  })

  it("accepts repeated and numbered keys, and keeps each URL once", () => {
    const { trackers } = parse(
      `magnet:?xt.1=urn:btih:${hex}&tr=udp://a.example:1&tr.1=udp://b.example:1&tr.22=udp://c.example:1&tr=udp://a.example:1`
    )

    assert.deepStrictEqual(trackers, ["udp://a.example:1", "udp://b.example:1", "udp://c.example:1"])
  })

  it("accepts a link that was copied out of HTML, or has blanks around it", () => {
    assert.strictEqual(parse(` magnet:?${xt}&amp;dn=name\n`).name, "name")
  })

  it("keeps a plus in a URL and bad escapes everywhere as they are", () => {
    const { name, trackers } = parse(`magnet:?${xt}&dn=100%+%zz%FF&tr=http://t.example/a+b`)

    assert.strictEqual(name, "100% %zz\ufffd")
    assert.deepStrictEqual(trackers, ["http://t.example/a+b"])
  })

  it("fault 21: a missing hash is reported", () => {
    assert.strictEqual(refusal(""), "Bad magnet link: it does not begin with magnet:?.")
    assert.strictEqual(refusal(`http://a.example/?${xt}`), "Bad magnet link: it does not begin with magnet:?.")
    assert.strictEqual(refusal("magnet:?dn=a"), "Bad magnet link: it has no info hash, as it has no xt parameter.")
    assert.strictEqual(
      refusal("magnet:?xt=urn:sha1:VL2MMHO4YXUKFWV63YHTWSBM3GXKSQ2N"),
      "Bad magnet link: it has no info hash, as its xt parameter begins with neither urn:btih: nor urn:btmh:."
    )
  })

  it("fault 21: a short, long or broken hash is reported", () => {
    const wrong = (length: number) =>
      `Bad magnet link: its info hash has ${length} characters, not 40 (hexadecimal) or 32 (base32).`

    assert.strictEqual(refusal("magnet:?xt=urn:btih:"), wrong(0))
    assert.strictEqual(refusal(`magnet:?${xt.slice(0, -1)}`), wrong(39))
    assert.strictEqual(refusal(`magnet:?${xt}0`), wrong(41))
    assert.strictEqual(refusal(`magnet:?${xt}%20`), wrong(41))
    assert.strictEqual(refusal(`magnet:?xt=urn:btih:${base32}A`), wrong(33))
    assert.strictEqual(
      refusal(`magnet:?${xt.slice(0, -1)}g`),
      "Bad magnet link: its info hash has 40 characters that are not all hexadecimal digits."
    )
    assert.strictEqual(
      refusal(`magnet:?${xt.slice(0, -1)}%20`),
      "Bad magnet link: its info hash has 40 characters that are not all hexadecimal digits."
    )
    assert.strictEqual(
      refusal(`magnet:?xt=urn:btih:${base32.slice(1)}1`),
      "Bad magnet link: its info hash has 32 characters that are not all of base32."
    )
  })

  it("fault 21: base32 and hexadecimal are read in either case", () => {
    for (const hash of [hex, hex.toUpperCase(), base32, base32.toLowerCase()]) {
      assert.strictEqual(hashOf(`magnet:?xt=urn:btih:${hash}`), hex, hash)
    }
  })

  it("fault 21: a btmh hash that is not a SHA-256 multihash is reported", () => {
    const prefix = "Bad magnet link: its btmh hash does not begin with 1220, the mark of SHA-256."
    const digits = "Bad magnet link: its btmh hash is not 1220 and 64 hexadecimal digits."

    assert.strictEqual(refusal(`magnet:?xt=urn:btmh:1114${hex}`), prefix)
    assert.strictEqual(refusal(`magnet:?xt=urn:btmh:${hexV2}`), prefix)
    assert.strictEqual(refusal(`magnet:?xt=urn:btmh:1220${hexV2.slice(2)}`), digits)
    assert.strictEqual(refusal(`magnet:?xt=urn:btmh:1220${hexV2.slice(1)}x`), digits)
    // Even beside a good v1 hash: a damaged link is not half believed.
    assert.strictEqual(refusal(`magnet:?${xt}&xt=urn:btmh:1220`), digits)
  })

  it("fault 22: magnet:///?, upper-case keys and an upper-case scheme are read", () => {
    assert.strictEqual(hashOf(`magnet:///?${xt}`), hex)
    assert.strictEqual(hashOf(`magnet://?${xt}`), hex)
    assert.strictEqual(hashOf(`MAGNET:?XT=URN:BTIH:${hex}&DN=n`), hex)
    assert.deepStrictEqual(parse(`magnet:?${xt}&TR.1=udp://a.example:1&X.PE=192.0.2.1:1`).peers.length, 1)
  })

  it("fault 22: a v1 and a v2 hash are read together, in any order", () => {
    for (const query of [`${xt}&xt=urn:btmh:1220${hexV2}`, `xt=urn:btmh:1220${hexV2}&${xt}`]) {
      const { infoHash, infoHashV2 } = parse(`magnet:?${query}`)

      assert.strictEqual(InfoHash.toHex(infoHash!), hex)
      assert.strictEqual(InfoHash.toHex(infoHashV2!), hexV2)
    }
    assert.isUndefined(parse(`magnet:?xt=urn:btmh:1220${hexV2}`).infoHash)
  })

  it("fault 22: the same hash twice is one, two different ones are refused", () => {
    const other = `${hex.slice(1)}0`

    assert.strictEqual(hashOf(`magnet:?${xt}&xt=urn:btih:${base32}`), hex)
    assert.strictEqual(refusal(`magnet:?${xt}&xt=urn:btih:${other}`), "Bad magnet link: it names two v1 info hashes.")
    assert.strictEqual(
      refusal(`magnet:?xt=urn:btmh:1220${hexV2}&xt=urn:btmh:1220${"0".repeat(64)}`),
      "Bad magnet link: it names two v2 info hashes."
    )
  })

  it("reads the selection of BEP 53 as ascending ranges that do not touch", () => {
    const select = (so: string) => parse(`magnet:?${xt}&so=${so}`).select

    assert.deepStrictEqual(select("0,2,4,6-8"), [
      { first: 0, last: 0 },
      { first: 2, last: 2 },
      { first: 4, last: 4 },
      { first: 6, last: 8 }
    ])
    assert.deepStrictEqual(select("9,5-7,6-8,0"), [
      { first: 0, last: 0 },
      { first: 5, last: 9 }
    ])
    assert.deepStrictEqual(select("1-9,3"), [{ first: 1, last: 9 }])
    assert.isUndefined(select(""))
  })

  it("fault 23: a selection is bounded, and a reversed or broken one is refused", () => {
    const tooFar = "Bad magnet link: its file selection (so) passes file 999999."
    const broken = "Bad magnet link: its file selection (so) is not like 0,2,6-8."

    assert.isDefined(parse(`magnet:?${xt}&so=999998-999999`).select)
    assert.strictEqual(refusal(`magnet:?${xt}&so=1000000`), tooFar)
    assert.strictEqual(refusal(`magnet:?${xt}&so=0-4294967295`), tooFar)
    assert.strictEqual(refusal(`magnet:?${xt}&so=8-6`), "Bad magnet link: its file selection (so) has 8-6 in reverse.")
    for (const so of ["a", "-1", "1-", "1,,2", "1-2-3", "0x1", "1e3", "1.5", "9".repeat(17)]) {
      assert.strictEqual(refusal(`magnet:?${xt}&so=${so}`), broken, so)
    }
  })

  it("fault 24: URLs of unsupported schemes are dropped", () => {
    const good = ["http://a.example/", "https://a.example/", "udp://a.example:1", "ws://a.example/", "wss://a.example/"]
    const bad = [
      "file:///etc/passwd",
      "javascript:alert(1)",
      "ftp://a.example/",
      "data:,x",
      "a.example",
      "http://",
      "udp:"
    ]
    const urls = [...bad, ...good].map(encodeURIComponent)

    const { acceptableSources, exactSources, trackers, webSeeds } = parse(
      `magnet:?${xt}&${urls.map((url) => `tr=${url}&ws=${url}&xs=${url}&as=${url}`).join("&")}`
    )

    assert.deepStrictEqual(trackers, good)
    for (const kept of [webSeeds, exactSources, acceptableSources]) assert.deepStrictEqual(kept, good.slice(0, 2))
  })

  it("fault 24: a scheme cannot hide behind blanks or control characters", () => {
    const { trackers } = parse(
      `magnet:?${xt}&tr=%09java%0Ascript:alert(1)&tr=http://a.example/%0D%0AHost:x&tr=%20ws://a.example`
    )

    assert.deepStrictEqual(trackers, ["http://a.example/Host:x", "ws://a.example/"])
  })

  it("drops peers that cannot be dialled, and keeps each once", () => {
    const peers = [
      "0.0.0.0:1",
      "192.0.2.1:0",
      "192.0.2.1",
      "255.255.255.255:1",
      "[ff02::1]:1",
      "127.1:1",
      "192.0.2.1:1"
    ]

    const magnet = parse(`magnet:?${xt}&${[...peers, "[::ffff:192.0.2.1]:1"].map((peer) => `x.pe=${peer}`).join("&")}`)

    assert.deepStrictEqual(magnet.peers, [{ host: "192.0.2.1", port: 1 }])
  })

  it("keeps a bounded number of trackers, web seeds, sources and peers", () => {
    const numbers = Array.from({ length: Magnet.maxEntries + 1 }, (_, index) => index + 1)
    const query = numbers
      .map(
        (n) =>
          `tr=udp://t.example:${n}&ws=http://w.example/${n}&xs=http://x.example/${n}&as=http://a.example/${n}&x.pe=peer.example:${n}`
      )
      .join("&")

    const magnet = parse(`magnet:?${xt}&${query}`)

    assert.strictEqual(magnet.trackers.length, Magnet.maxEntries)
    assert.strictEqual(magnet.trackers.at(-1), `udp://t.example:${Magnet.maxEntries}`)
    assert.strictEqual(magnet.webSeeds.length, Magnet.maxEntries)
    assert.strictEqual(magnet.exactSources.length, Magnet.maxEntries)
    assert.strictEqual(magnet.acceptableSources.length, Magnet.maxEntries)
    assert.strictEqual(magnet.peers.length, Magnet.maxEntries)
  })

  it("refuses a link that is longer than any real one", () => {
    const link = `magnet:?${xt}&dn=`

    assert.isDefined(parse(link.padEnd(Magnet.maxLength, "x")).name)
    assert.strictEqual(
      refusal(link.padEnd(Magnet.maxLength + 1, "x")),
      "Bad magnet link: it is longer than 65536 characters."
    )
  })

  it("ignores keys it does not know, object members among them", () => {
    assert.strictEqual(hashOf(`magnet:?__proto__=x&constructor=x&xl=10&kt&=&&xs=http://a.example/&${xt}`), hex)
  })

  it("returns a result for any text, never an exception", () => {
    const query = fc.string({ unit: fc.constantFrom(..."xtdnrws.pe=&%20-,:[]/aF1", "urn:btih:", hex), maxLength: 40 })

    fc.assert(
      fc.property(query, (text) => Result.isResult(Magnet.parse(`magnet:?${xt}&${text}`))),
      { numRuns: 500 }
    )
  })
})

describe("Magnet.format", () => {
  const url = (schemes: ReadonlyArray<string>) =>
    fc
      .tuple(fc.constantFrom(...schemes), fc.webPath({ size: "small" }), fc.webQueryParameters({ size: "small" }))
      .map(([scheme, path, query]) => new URL(`${scheme}://t.example:6969${path}?${query}`).href)
  const v2 = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => InfoHash.v2FromBytes(bytes)!)
  const magnet: fc.Arbitrary<Magnet.Magnet> = fc
    .record(
      {
        infoHash: fc.option(Values.infoHash, { nil: undefined }),
        infoHashV2: fc.option(v2, { nil: undefined }),
        name: fc.option(fc.string({ unit: "binary", minLength: 1 }), { nil: undefined }),
        trackers: fc.uniqueArray(url(["http", "https", "udp", "ws", "wss"]), { maxLength: 4 }),
        webSeeds: fc.uniqueArray(url(["http", "https"]), { maxLength: 4 }),
        exactSources: fc.uniqueArray(url(["http", "https"]), { maxLength: 2 }),
        acceptableSources: fc.uniqueArray(url(["http", "https"]), { maxLength: 2 }),
        peers: fc.constant([
          { host: "fe80::1%10", port: 1 },
          { host: "192.0.2.1", port: 2 }
        ]),
        select: fc.constantFrom(
          undefined,
          [{ first: 0, last: 0 }],
          [
            { first: 1, last: 3 },
            { first: 5, last: 9 }
          ]
        )
      },
      { noNullPrototype: true }
    )
    .filter(({ infoHash, infoHashV2 }) => infoHash !== undefined || infoHashV2 !== undefined)

  it("writes the form that other clients read", () => {
    const text = `magnet:?${xt}&xt=urn:btmh:1220${hexV2}&dn=a%20b%26c&tr=udp%3A%2F%2Ft.example%3A1&x.pe=192.0.2.1:6881&so=0,2-3`

    assert.strictEqual(Magnet.format(parse(text)), text)
  })

  it("writes a name with a lone surrogate", () => {
    assert.include(Magnet.format({ ...parse(`magnet:?${xt}`), name: "a\ud800" }), "dn=a%EF%BF%BD")
  })

  it("is read back as what was written", () => {
    fc.assert(fc.property(magnet, (magnet) => assert.deepStrictEqual(parse(Magnet.format(magnet)), magnet)))
  })
})

describe("Magnet.selects", () => {
  it("takes every file without a selection, else those in it", () => {
    const some = parse(`magnet:?${xt}&so=1,3-4`)

    assert.deepStrictEqual(
      [0, 1, 2, 3, 4, 5].filter((index) => Magnet.selects(some, index)),
      [1, 3, 4]
    )
    assert.isTrue(Magnet.selects(parse(`magnet:?${xt}`), 999))
  })
})

describe("Magnet.peersNamedBy (fault 91)", () => {
  const peers = ["198.51.100.1", "10.0.0.1", "127.0.0.1", "peer.example", "224.0.0.1"].map((host) => ({
    host,
    port: 1
  }))
  const hosts = (from: Reach) => Magnet.peersNamedBy({ peers }, from).map(({ host }) => host)

  it("returns all that a peer can have if the user typed the link", () => {
    assert.deepStrictEqual(hosts("loopback"), ["198.51.100.1", "10.0.0.1", "127.0.0.1", "peer.example"])
  })

  it("returns none that is less public than the server that redirects to it, and no name, which would be followed anywhere", () => {
    assert.deepStrictEqual(hosts("public"), ["198.51.100.1"])
    assert.deepStrictEqual(hosts("private"), ["198.51.100.1", "10.0.0.1"])
  })
})
