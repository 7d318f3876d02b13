import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Bytes from "../src/base/Bytes.ts"
import * as IpAddress from "../src/base/IpAddress.ts"
import * as PeerAddress from "../src/base/PeerAddress.ts"
import * as Reach from "../src/base/Reach.ts"
import * as Bencode from "../src/bencode/Bencode.ts"
import * as Arguments from "../src/cli/Arguments.ts"
import * as FileSelection from "../src/cli/FileSelection.ts"
import * as TerminalText from "../src/cli/TerminalText.ts"
import * as Units from "../src/cli/Units.ts"
import * as AnnounceCodec from "../src/discovery/tracker/AnnounceCodec.ts"
import * as ScrapeCodec from "../src/discovery/tracker/ScrapeCodec.ts"
import * as IoDaemonProtocol from "../src/io-daemon/IoDaemonProtocol.ts"
import * as FileLayout from "../src/metainfo/FileLayout.ts"
import * as Magnet from "../src/metainfo/Magnet.ts"
import * as Metainfo from "../src/metainfo/Metainfo.ts"
import * as ReservedName from "../src/metainfo/ReservedName.ts"
import * as SafePath from "../src/metainfo/SafePath.ts"
import * as LockNames from "../src/storage/provider/node/locks/LockNames.ts"
import * as ExtensionHandshake from "../src/wire/extension/ExtensionHandshake.ts"
import * as PexMessage from "../src/wire/extension/PexMessage.ts"
import * as FrameDecoder from "../src/wire/FrameDecoder.ts"
import { assertBounded, assertLinear } from "./linear.ts"

/** A text of about `length` characters: `unit` again and again between `head` and `tail`. */
const repeating =
  (head: string, unit: string, tail = "") =>
  (length: number): string =>
    head + unit.repeat(length / unit.length) + tail

const bytesOf =
  (make: (length: number) => string) =>
  (length: number): Uint8Array =>
    Bytes.fromText(make(length))

const digest = "x".repeat(20)
const hash = `xt=urn:btih:${"a".repeat(40)}`

/** A torrent of one file. */
const singleFile = (name: string): Uint8Array =>
  Bytes.fromText(
    `d4:infod6:lengthi1e4:name${Bytes.fromText(name).length}:${name}12:piece lengthi16384e6:pieces20:${digest}ee`
  )

/** A torrent of which half is its name and half its files. */
const longName = (length: number): Uint8Array => {
  const count = Math.floor(length / 80)
  const files = Array.from({ length: count }, (_, i) => `d6:lengthi1e4:pathl8:${String(i).padStart(8, "0")}ee`).join("")
  const name = "n".repeat(length / 2)
  return Bytes.fromText(
    `d4:infod5:filesl${files}e4:name${name.length}:${name}12:piece lengthi16777216e6:pieces20:${digest}ee`
  )
}

/** Bencoded lists inside each other, as wide as the limit of depth allows. */
const nested = repeating("l", `${"l".repeat(90)}${"e".repeat(90)}`, "e")

const layoutOf = (count: number) =>
  ({
    name: "known",
    layout: FileLayout.make({
      files: Array.from({ length: count }, (_, index) => ({ path: ["known", `${index}`], length: 1 })),
      pieceLength: 16_384
    })
  }) as unknown as Metainfo.Metainfo

const everySecond = (count: number) => Array.from({ length: count / 2 }, (_, at) => ({ first: 2 * at, last: 2 * at }))

const option = { name: "select", value: "GLOB", about: "", repeats: true }
const command = { name: "x", about: "", operands: [], options: [option] } as unknown as Arguments.Command

/** Fault 71: no input costs more than linear time. Each line was, or could easily become, a hostile input. */
const texts: ReadonlyArray<readonly [what: string, make: (length: number) => string, run: (text: string) => unknown]> =
  [
    ["a peer's address with many colons", repeating("[", ":"), PeerAddress.parse],
    ["a peer's address with many brackets", repeating("[:", "]", ":1"), PeerAddress.parse],
    ["a host with many zones", repeating(":", "%", "\n"), (text) => PeerAddress.make(text, 1)],
    ["a host with many labels", repeating("", "1."), (text) => PeerAddress.make(text, 1)],
    ["the reach of a host with many zones", repeating("", "%", "\n"), Reach.of],
    ["the reach of a host with many brackets", repeating("[", "]", "x"), Reach.of],
    ["a base32 text", repeating("", "a"), Bytes.fromBase32],
    ["a hexadecimal text", repeating("", "a"), Bytes.fromHex],
    ["a magnet link with a bad peer", (length) => repeating(`magnet:?${hash}&x.pe=[`, ":")(length), Magnet.parse],
    ["a magnet link with many topics", repeating("magnet:?", "xt=urn:bt&"), Magnet.parse],
    ["a magnet link with an escaped key", repeating("magnet:?", ".1", "=1"), Magnet.parse],
    ["a magnet link with an escaped name", repeating(`magnet:?${hash}&dn=`, "%41"), Magnet.parse],
    ["a magnet link with many ranges", repeating(`magnet:?${hash}&so=1`, ",1"), Magnet.parse],
    ["a magnet link with slashes", repeating("magnet:", "/"), Magnet.parse],
    ["a name with dots and blanks inside", repeating("a", ". ", "b"), (text) => SafePath.component(text, "windows")],
    ["a name with dots and blanks at its end", repeating("a", ". "), (text) => SafePath.component(text, "windows")],
    ["a name of marks and joiners", repeating("a", "\u200e\u200d", "b"), SafePath.component],
    ["a name of combining marks", repeating("a", "\u0301\u0316", "b"), SafePath.alike],
    ["a reserved name with dots and blanks", repeating(".piecewise", ". ", "b"), ReservedName.is],
    ["a reserved name with combining marks", repeating(".piecewise", "\u0301\u0316", "b"), ReservedName.is],
    ["a reserved name with streams", repeating(".piecewise", ":\n"), ReservedName.is],
    ["the name of a lock with dots and blanks", repeating("a", ". ", "b"), LockNames.fold],
    ["a size with blanks", repeating("1", " ", "!"), Units.parseBytes],
    ["a size with digits", repeating("1", "1", "!"), Units.parseBytes],
    ["a rate with blanks", repeating("1/s", " ", "!"), Units.parseRate],
    ["a time with blanks", repeating("1", " ", "!"), Units.parseDuration],
    ["a long word", repeating("", "a"), (text) => Arguments.suggestion(text, ["select"])],
    ["a glob for a long name", repeating("", "a"), FileSelection.compile("*a*a*a*ab")],
    ["a glob for a deep path", repeating("a", "/a"), FileSelection.compile("**/a/**/a/**/a/**/b")],
    ["a text for a terminal", repeating("", "\u202e"), TerminalText.clean],
    ["a text for a terminal's line", repeating("", "\u0301"), (text) => TerminalText.fit(text, 10)],
    ["a line of JSON", repeating("", "\u202e"), TerminalText.json],
    ["a tracker's URL with fragments", repeating("http://a/", "#\n"), (text) => AnnounceCodec.withParameters(text, [])],
    [
      "a tracker's URL with many paths",
      repeating("http://a", "/announce", "/x"),
      (text) => ScrapeCodec.toUrl(text, new Uint8Array(20))
    ],
    ["a digest of the io-daemon", repeating('"', "a"), IoDaemonProtocol.decodeDigest],
    ["a file of the io-daemon", repeating("", "["), IoDaemonProtocol.decodeFile]
  ]

const blobs: ReadonlyArray<
  readonly [what: string, make: (length: number) => Uint8Array, run: (bytes: Uint8Array) => unknown]
> = [
  ["nested lists", bytesOf(nested), (bytes) => Bencode.decode(bytes)],
  ["keys of dictionaries", bytesOf(repeating("d", "1:a0:", "e")), (bytes) => Bencode.decode(bytes)],
  ["a long key", bytesOf((length) => `d${length}:${"a".repeat(length)}0:e`), (bytes) => Bencode.decode(bytes)],
  ["digits of an integer", bytesOf(repeating("i1", "1", "e")), (bytes) => Bencode.decode(bytes)],
  ["a long name of a torrent's only file", (length) => singleFile(`a${". ".repeat(length / 2)}b`), Metainfo.decode],
  [
    "a long name by the rules of Windows",
    (length) => singleFile(`a${". ".repeat(length / 2)}b`),
    (bytes) => Metainfo.decode(bytes, { platform: "windows" })
  ],
  ["a long name of a torrent with many files", longName, Metainfo.decode],
  ["a text to show", bytesOf(repeating("", "\u202e \u0000")), (bytes) => Bytes.toShownText(bytes, 1_000_000)],
  ["a tracker's peers", bytesOf(repeating("d5:peersl", "d2:ip3:1.14:porti1ee", "ee")), AnnounceCodec.decode],
  ["a peer's extension handshake", bytesOf(repeating("d1:md", "1:ai1e", "ee")), ExtensionHandshake.decode],
  ["a peer's contacts", bytesOf((length) => `d5:added${length}:${"a".repeat(length)}e`), PexMessage.decode]
]

describe("fault 71: what a stranger writes takes time in proportion to its length", () => {
  it.each(texts)("%s", (_, make, run) => {
    assertLinear(20_000, make, run)
  })

  it.each(blobs)("%s", (_, make, run) => {
    assertLinear(60_000, make, run)
  })

  it("a frame that arrives byte by byte", () => {
    const frame = (length: number) => {
      const bytes = new Uint8Array(length).fill(1)
      Bytes.writeUint32Unsafe(bytes, 0, length - 4)
      bytes[4] = 20
      return bytes
    }
    assertLinear(60_000, frame, (bytes) => {
      const decoder = FrameDecoder.make(FrameDecoder.ignoreAll)
      for (let at = 0; at < bytes.length; at++) FrameDecoder.push(decoder, bytes.subarray(at, at + 1))
    })
  })

  it("an option that is given many times", () => {
    assertLinear(
      2_000,
      (count) => Array.from({ length: count }, () => "--select=a"),
      (words) => Arguments.read(command, words)
    )
  })

  it("a selection of many ranges among many files", () => {
    assertLinear(
      4_000,
      (count) => [layoutOf(count), everySecond(count)] as const,
      ([torrent, ranges]) => Effect.runSync(FileSelection.ofRanges(torrent, ranges))
    )
  })

  it("the files that a link selects, one by one", () => {
    assertLinear(
      4_000,
      (count) => ({ count, link: { select: everySecond(count) } as unknown as Magnet.Magnet }),
      ({ count, link }) => {
        for (let index = 0; index < count; index++) Magnet.selects(link, index)
      }
    )
  })

  it("does not split a text that is too long for an address", () => {
    assertBounded(64_000, repeating("", "1:"), IpAddress.parse)
    assertBounded(64_000, repeating("", "1."), IpAddress.parse)
    assert.isDefined(IpAddress.parse("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255"))
    assert.isUndefined(IpAddress.parse("ffff:ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255"))
  })

  it("byte order marks where a web page may begin", () => {
    assertBounded(
      1,
      bytesOf((count) => "\ufeff".repeat(Math.min(count, 21))),
      AnnounceCodec.decode
    )
  })
})
