import { spawnSync } from "node:child_process"
import * as FileSystem from "node:fs"
import * as OperatingSystem from "node:os"
import * as Path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as SessionMigrations from "../../src/session/provider/node/SessionMigrations.ts"
import * as SqliteSessionStore from "../../src/session/provider/node/SqliteSessionStore.ts"
import * as SessionDrawing from "../../src/testing/suite/SessionDrawing.ts"
import * as SchemaOne from "./schemaOne.ts"

const { drawContent, drawSession, hashOf, torrentOf } = SessionDrawing

const program = Path.join(import.meta.dirname, "programs/migrate-until-killed.ts")

/** A database of schema 1 in a folder of its own. */
const older = Effect.gen(function* () {
  const folder = yield* Effect.acquireRelease(
    Effect.sync(() => FileSystem.mkdtempSync(Path.join(OperatingSystem.tmpdir(), "piecewise-upgrade-"))),
    (folder) => Effect.sync(() => FileSystem.rmSync(folder, { recursive: true }))
  )
  const file = Path.join(folder, "session.db")
  yield* SchemaOne.make(file)
  return file
})

const versionOf = (file: string) => FileSystem.readFileSync(file).readUInt32BE(60)

const expected = drawSession({
  torrents: [
    torrentOf(1, {
      name: "it's a film",
      labels: ["films", "new"],
      options: { folder: "/srv/films", goal: { ratio: 1.5, time: Duration.seconds(5) } },
      addedAtMillis: 1_700_000_000_000,
      completedAtMillis: 1_700_000_000_001,
      progress: { totalBytes: 9, wantedBytes: 8, missingBytes: 0 },
      statistics: { downloadedBytes: 7, uploadedBytes: 6, seedingMillis: 5 }
    }),
    torrentOf(2, {
      name: "",
      position: 1.5,
      wanted: { _tag: "Failed", error: "piecewise/ContentExists", message: "It is there." },
      addedAtMillis: 1
    }),
    torrentOf(3, {
      name: "c",
      wanted: { _tag: "Removing", data: true },
      options: { order: "sequential", webSeeds: false },
      addedAtMillis: 2
    })
  ],
  labels: [{ name: "films", folder: "/srv/films" }],
  trackerGoals: [],
  limits: { downloads: 3, seeds: 0 }
})

const loaded = (file: string) =>
  Effect.scoped(
    Effect.gen(function* () {
      const store = yield* SqliteSessionStore.make({ file })
      const contents = yield* Effect.forEach([1, 2, 3], (number) => store.content(hashOf(number)))
      return { session: drawSession(yield* store.load), contents: contents.map(drawContent) }
    })
  )

const expectedContents = [
  {
    source: { _tag: "Metainfo" as const, bytes: Uint8Array.from([1, 2]) },
    files: {
      priorities: ["skip" as const, "high" as const],
      renamed: [{ file: 1, path: ["a", "b"] as const }],
      renaming: { file: 0, path: ["c"] as const }
    }
  },
  { source: { _tag: "Metainfo" as const, bytes: new Uint8Array() }, files: { renamed: [] } },
  { source: { _tag: "Magnet" as const, link: "magnet:?xt=1" }, files: { renamed: [] } }
].map(drawContent)

describe("a session of schema 1", () => {
  it.live("has everything in it when it is opened, and takes what later schemas have", () =>
    Effect.gen(function* () {
      const file = yield* older
      const before = versionOf(file)
      const found = yield* loaded(file)
      yield* Effect.scoped(
        Effect.flatMap(SqliteSessionStore.make({ file }), ({ commit }) =>
          commit([{ _tag: "SetTrackerHosts", infoHash: hashOf(1), hosts: ["a"] }])
        )
      )

      assert.deepStrictEqual(found, { session: expected, contents: expectedContents })
      assert.deepStrictEqual([before, versionOf(file)], [1, SessionMigrations.all.length])
      assert.notDeepEqual((yield* loaded(file)).session, expected)
    })
  )

  // Those of the second schema, that of the third one, and one beyond them.
  for (let statement = 0; statement < 5; statement++) {
    it.live(`is as it was after a kill before statement ${statement} of its migration, and is opened then`, () =>
      Effect.gen(function* () {
        const file = yield* older
        const killed = spawnSync(process.execPath, [program, file, String(statement)])
        const left = yield* SchemaOne.read(file)
        const version = versionOf(file)

        assert.strictEqual(killed.signal, "SIGKILL", String(killed.stderr))
        assert.deepStrictEqual(left, SchemaOne.everything)
        assert.strictEqual(version, statement < 3 ? 1 : 2)
        assert.deepStrictEqual(yield* loaded(file), { session: expected, contents: expectedContents })
      })
    )
  }
})
