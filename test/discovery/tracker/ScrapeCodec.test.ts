import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Bytes from "../../../src/base/Bytes.ts"
import * as Bencode from "../../../src/bencode/Bencode.ts"
import * as ScrapeCodec from "../../../src/discovery/tracker/ScrapeCodec.ts"

const infoHash = Bytes.fromHex("123456789abcdef123456789abcdef123456789a")!
const key = Bytes.toLatin1(infoHash)

const bytesOf = (answer: Bencode.Encodable | string) =>
  typeof answer === "string" ? Bytes.fromLatin1Unsafe(answer) : Bencode.encode(answer)

const decoded = (answer: Bencode.Encodable | string) => Result.getOrThrow(ScrapeCodec.decode(bytesOf(answer), infoHash))

const whyRefused = (answer: Bencode.Encodable | string) =>
  Result.getOrThrow(Result.flip(ScrapeCodec.decode(bytesOf(answer), infoHash))).why

describe("ScrapeCodec.toUrl", () => {
  it.each([
    ["http://t.example/announce", "http://t.example/scrape"],
    ["http://t.example/x/announce", "http://t.example/x/scrape"],
    ["http://t.example/announce.php", "http://t.example/scrape.php"],
    ["http://t.example/announce?x2%0644", "http://t.example/scrape?x2%0644"],
    ["http://t.example/announce/announce", "http://t.example/announce/scrape"],
    ["http://t.example:81/key/announce?x=a/b#part", "http://t.example:81/key/scrape?x=a/b"]
  ])("turns %s into %s", (trackerUrl, scrapeUrl) => {
    const url = ScrapeCodec.toUrl(trackerUrl, infoHash)

    const separator = scrapeUrl.includes("?") ? "&" : "?"
    const escaped = "%124Vx%9A%BC%DE%F1%23Eg%89%AB%CD%EF%124Vx%9A"
    assert.strictEqual(url, `${scrapeUrl}${separator}info_hash=${escaped}`)
  })

  it.each([
    "http://t.example/a",
    "http://t.example/",
    "http://t.example/x%064announce",
    "http://t.example/xannounce",
    "http://t.example/announce/",
    "http://t.example/a?b=/announce",
    "nowhere"
  ])("finds no scrape URL for %s", (trackerUrl) => {
    const url = ScrapeCodec.toUrl(trackerUrl, infoHash)

    assert.isUndefined(url)
  })
})

describe("ScrapeCodec.decode", () => {
  it("reads the example of BEP 48", () => {
    const answer = decoded(`d5:filesd20:${key}d8:completei5e10:downloadedi50e10:incompletei10eeee`)

    assert.deepStrictEqual(answer, { seeders: 5, leechers: 10, downloads: 50 })
  })

  it("finds the torrent among others, for any bytes of its hash", () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(255), { minLength: 2, maxLength: 9 }), (first) => {
        const hashes = first.map((byte) => Uint8Array.of(byte, ...infoHash.subarray(1)))
        const files = new Map(hashes.map((hash, index) => [Bytes.toLatin1(hash), index]))
        const text = Array.from(files, ([key, index]) => `20:${key}d8:completei${index}ee`).sort()
        const bytes = Bytes.fromLatin1Unsafe(`d5:filesd${text.join("")}ee`)

        for (const [index, hash] of hashes.entries()) {
          const answer = Result.getOrThrow(ScrapeCodec.decode(bytes, hash))
          assert.strictEqual(answer.seeders, index)
        }
      })
    )
  })

  it("finds the torrent if its hash is encoded as UTF-8, as bittorrent-tracker 11 does", () => {
    const inUtf8 = Bytes.toLatin1(Bytes.fromText(key))
    const answer = decoded(`d5:filesd${inUtf8.length}:${inUtf8}d8:completei5eeee`)

    assert.strictEqual(answer.seeders, 5)
  })

  it("treats malformed counts as absent", () => {
    const answer = decoded(`d5:filesd20:${key}d8:completei-1e10:downloaded2:10eeee`)

    assert.deepStrictEqual(answer, { seeders: undefined, leechers: undefined, downloads: undefined })
  })

  it.each([
    ["another torrent", "d5:filesd20:aaaaaaaaaaaaaaaaaaaad8:completei5eeee", "it does not know this torrent"],
    ["no torrent", "d5:filesdee", "it does not know this torrent"],
    ["files that are a list", "d5:fileslee", "the answer is not a scrape response"],
    ["an announce's answer", "d8:intervali900e5:peers0:e", "the answer is not a scrape response"],
    ["a refusal", "d14:failure reason2:noe", "refused: no"],
    ["a web page", "<html>", "the answer is a web page"],
    ["nothing", "", "the answer is empty"]
  ])("fault 57: refuses %s with a readable reason", (_, answer, why) => {
    assert.strictEqual(whyRefused(answer), why)
  })

  it("never throws for any bytes", () => {
    const whole = bytesOf(`d5:filesd20:${key}d8:completei5e10:downloadedi50e10:incompletei10eeee`)
    for (let length = 0; length < whole.length; length++) {
      assert.isTrue(Result.isFailure(ScrapeCodec.decode(whole.subarray(0, length), infoHash)))
    }
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 4 }), (changes) => {
        const damaged = whole.slice()
        for (const [at, value] of changes) damaged[at] = value
        Result.match(ScrapeCodec.decode(damaged, infoHash), {
          onFailure: ({ why }) => assert.notMatch(why, /^$|\p{Cc}/u),
          onSuccess: (answer) =>
            assert.isTrue(Object.values(answer).every((count) => count === undefined || count >= 0))
        })
      }),
      { numRuns: 500 }
    )
  })
})
