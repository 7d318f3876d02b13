import { writeFile } from "node:fs/promises"
import * as path from "node:path"
import { gzipSync } from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { only, prepare, seed, services } from "./downloads.ts"
import { endedOf, runScoped } from "./program.ts"

describe("--blocklist", () => {
  it.live("fault 94: meets no peer in its ranges, and every other one", () =>
    Effect.gen(function* () {
      const { folder, known } = yield* prepare()
      const { address, peer } = yield* seed(known)
      const write = (name: string, text: string) => Effect.promise(() => writeFile(path.join(folder, name), text))
      yield* write("here.p2p", "# this machine\r\nloopback, all:127.0.0.0-127.255.255.255\r\n")
      yield* write("there.txt", "198.51.100.0/24\n")
      const download = (...lists: ReadonlyArray<string>) => {
        const options = lists.flatMap((list) => ["--blocklist", list])
        const args = ["download", "known.torrent", "-o", "out", "--peer", address, "--give-up", "2s", "--json"]
        return runScoped([...args, ...options], folder)
      }

      const blocked = yield* download("there.txt", "here.p2p")
      const connections = peer.counters.connections
      const met = yield* download("there.txt")

      assert.deepStrictEqual([endedOf(blocked.stdout).exit, blocked.code, connections], ["failure", 1, 0])
      assert.include(only("AddressesRefused", blocked.stdout)[0], { source: "given", addresses: 1 })
      assert.deepStrictEqual([met.code, only("AddressesRefused", met.stdout)], [0, []])
    }).pipe(Effect.provide(services))
  )

  it.live("fault 94: names the line that is no range, and what else is wrong with a file", () =>
    Effect.gen(function* () {
      const { folder } = yield* prepare()
      const files: ReadonlyArray<readonly [string, string | Uint8Array, RegExp]> = [
        ["bad.txt", "10.0.0.0/8\n\n10.0.0.0/33\n<html>", /^piecewise: bad\.txt, line 3: "10\.0\.0\.0\/33" is no range/],
        ["page.html", "<html>\u001b[2J</html>", /^piecewise: page\.html, line 1: "<html>.*" is no range/],
        ["empty.txt", "# nothing\n", /^piecewise: empty\.txt: there is no range of addresses in it/],
        ["list.gz", gzipSync("10.0.0.0/8"), /^piecewise: list\.gz: it is compressed with gzip; unpack it first/]
      ]
      for (const [name, content] of files) yield* Effect.promise(() => writeFile(path.join(folder, name), content))

      for (const [name, , why] of files) {
        const ended = yield* runScoped(["download", "known.torrent", "-o", "out", "--blocklist", name], folder)
        assert.match(ended.stderr, why)
        assert.notInclude(ended.stderr, "\u001b")
        assert.strictEqual(ended.code, 1)
      }
      const missing = yield* runScoped(["seed", "known.torrent", "out", "--blocklist", "none.txt"], folder)
      assert.match(missing.stderr, /^piecewise: none\.txt: no such file or folder/)
    }).pipe(Effect.provide(services))
  )
})
