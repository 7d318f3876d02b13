import { existsSync } from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { IoDaemon } from "../../src/io-daemon/IoDaemon.ts"
import * as Daemon from "../io-daemon/daemon.ts"
import { rootMarker } from "../storage/disk.ts"
import { assertStored, only, prepare, seed, services } from "./downloads.ts"
import { endedOf, runScoped } from "./program.ts"

const sentence = ({ code, stderr }: { readonly code: number | null; readonly stderr: string }) =>
  [code, stderr.trimEnd()] as const

describe("piecewise download through the io-daemon", () => {
  it.live("reports a daemon that cannot be started", () =>
    Effect.gen(function* () {
      const { folder, known } = yield* prepare()
      const { address } = yield* seed(known)
      const words = ["download", "known.torrent", "-o", "out", "--peer", address, "--storage", "io-daemon"]

      const ended = yield* runScoped(words, folder, { PIECEWISE_IO_DAEMON: path.join(folder, "none") })

      assert.deepStrictEqual(sentence(ended), [
        1,
        `piecewise: the io-daemon is not there: it could not be started: ${folder}/none (ENOENT)`
      ])
    }).pipe(Effect.provide(services))
  )

  it.live.each([
    [
      ["--io-daemon-url", "here"],
      { PIECEWISE_IO_DAEMON_TOKEN: "a" },
      /--io-daemon-url here is not an io-daemon address/
    ],
    [["--io-daemon-url", "http://192.0.2.1:1"], { PIECEWISE_IO_DAEMON_TOKEN: "a" }, /is not an io-daemon address/],
    [["--io-daemon-url", "http://a:b@127.0.0.1:1"], { PIECEWISE_IO_DAEMON_TOKEN: "a" }, /is not an io-daemon address/],
    [["--io-daemon-url", "https://x"], { PIECEWISE_IO_DAEMON_TOKEN: "a" }, /is not an io-daemon address/],
    [["--io-daemon-url", "http://127.0.0.1:1/x"], { PIECEWISE_IO_DAEMON_TOKEN: "a" }, /is not an io-daemon address/],
    [
      ["--io-daemon-url", "http://127.0.0.1:1"],
      { PIECEWISE_IO_DAEMON_TOKEN: "" },
      /needs the daemon's token in PIECEWISE/
    ],
    [
      ["--io-daemon-url", "http://127.0.0.1:1", "--storage", "memory"],
      { PIECEWISE_IO_DAEMON_TOKEN: "a" },
      /has no effect/
    ]
  ] as const)("refuses %j with 2", ([words, env, why]) =>
    Effect.gen(function* () {
      const ended = yield* runScoped(["download", "x", ...words], undefined, env)

      assert.strictEqual(ended.code, 2)
      assert.match(ended.stderr, why)
    })
  )

  Daemon.live("piecewise download", () => {
    it.live.each([
      ["--storage", "io-daemon"],
      ["--network", "io-daemon"],
      ["--storage", "io-daemon", "--network", "io-daemon"]
    ])("stores everything with a daemon of its own: %s %s %s %s", (...words) =>
      Effect.gen(function* () {
        const { folder, known } = yield* prepare()
        const { address } = yield* seed(known)
        const args = ["download", "known.torrent", "-o", "out", "--peer", address, "--json"]

        const ended = yield* runScoped([...args, ...words.flat().filter((word) => typeof word === "string")], folder)

        assert.deepStrictEqual(sentence(ended), [0, ""])
        assert.include(endedOf(ended.stdout).status, { storedPieces: 10 })
        yield* assertStored(known, path.join(folder, "out"))
        // A root gets a marker. A daemon that only opens sockets has no root.
        const isMarked = existsSync(path.join(folder, "out", rootMarker))
        assert.strictEqual(
          isMarked,
          words.flat().some((word) => word === "--storage")
        )
      }).pipe(Effect.provide(services))
    )

    it.live("uses a running daemon, and continues from what is stored there", () =>
      Effect.gen(function* () {
        const { folder, known } = yield* prepare()
        const { address, peer } = yield* seed(known)
        const args = ["download", "known.torrent", "-o", "out", "--peer", address, "--json", "--storage", "io-daemon"]
        const { first, second, stats } = yield* Effect.gen(function* () {
          const { token, url } = yield* (yield* IoDaemon).endpoint
          const env = { PIECEWISE_IO_DAEMON_TOKEN: Redacted.value(token) }
          const first = yield* runScoped([...args, "--io-daemon-url", url], folder, env)
          const second = yield* runScoped([...args, "--io-daemon-url", url], folder, env)
          return { first, second, stats: yield* Daemon.stats }
        }).pipe(Effect.provide(Layer.fresh(Daemon.layer({ mine: path.join(folder, "out") }))))

        assert.deepStrictEqual(
          [sentence(first), sentence(second)],
          [
            [0, ""],
            [0, ""]
          ]
        )
        yield* assertStored(known, path.join(folder, "out"))
        assert.strictEqual(stats.writes, 10)
        assert.strictEqual(peer.counters.connections, 1)
        assert.deepStrictEqual(only("PieceStored", second.stdout), [])
      }).pipe(Effect.provide(services))
    )

    it.live("lists the folders of a running daemon if it lacks the requested one", () =>
      Effect.gen(function* () {
        const { folder, known } = yield* prepare()
        const { address } = yield* seed(known)
        const args = ["download", "known.torrent", "-o", "out", "--peer", address, "--storage", "io-daemon"]

        const ended = yield* Effect.gen(function* () {
          const { token, url } = yield* (yield* IoDaemon).endpoint
          const env = { PIECEWISE_IO_DAEMON_TOKEN: Redacted.value(token) }
          return yield* runScoped([...args, "--io-daemon-url", url], folder, env)
        }).pipe(Effect.provide(Layer.fresh(Daemon.layer({ other: path.join(folder, "elsewhere") }))))

        assert.deepStrictEqual(sentence(ended), [
          1,
          `piecewise: the io-daemon is not there: it has no root at out; its roots are ${folder}/elsewhere`
        ])
      }).pipe(Effect.provide(services))
    )
  })
})
