import { existsSync } from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as ServiceLines from "../../../src/cli/service/ServiceLines.ts"
import * as ServiceFolder from "../../../src/node/ServiceFolder.ts"
import * as SqliteSessionStore from "../../../src/session/provider/node/SqliteSessionStore.ts"
import * as Recorded from "../../session/import/recorded.ts"
import { folderScoped, runScoped } from "../program.ts"
import { places, serve } from "./services.ts"

const decode = Schema.decodeUnknownSync(Schema.toCodecJson(ServiceLines.Imported))

/** The session of a state folder. */
const saved = (state: string) =>
  Effect.scoped(Effect.flatMap(SqliteSessionStore.make({ file: ServiceFolder.sessionIn(state) }), ({ load }) => load))

describe("import", () => {
  it.live.each(["qbittorrent", "transmission"] as const)("adds the torrents of %s, and runs none of them", (client) =>
    Effect.gen(function* () {
      const root = yield* folderScoped
      const folder = yield* Effect.promise(() => Recorded.copy(client, root))
      const state = path.join(root, "state")
      const first = yield* runScoped(["import", client, folder, "--state", state, "--json"])
      const report = decode(JSON.parse(first.stdout))
      const second = yield* runScoped(["import", client, folder, "--state", state])
      const { limits, torrents } = yield* saved(state)

      assert.strictEqual(first.code, 0, first.stderr)
      assert.isAbove(report.torrents.length, 1)
      assert.deepStrictEqual([...new Set(report.torrents.map(({ outcome }) => outcome._tag))], ["Added"])
      assert.strictEqual(torrents.length, report.torrents.length)
      assert.deepStrictEqual(limits, {})
      // Nothing was verified or written.
      assert.isFalse(existsSync(ServiceFolder.resumeIn(state)))
      const lines = second.stdout.trimEnd().split("\n")
      const count = report.torrents.length
      assert.strictEqual(second.code, 0, second.stderr)
      assert.strictEqual(lines.at(-1), `${count} in ${report.folder}: 0 added, ${count} there already, 0 failed`)
      assert.isTrue(lines[0]!.startsWith("was there: "))
    })
  )

  it.live("says which torrents failed, and why, and adds the others", () =>
    Effect.gen(function* () {
      const root = yield* folderScoped
      const folder = yield* Effect.promise(() => Recorded.copy("qbittorrent", root))
      const { writeFileSync } = yield* Effect.promise(() => import("node:fs"))
      const damaged = `${"ab".repeat(20)}.fastresume`
      writeFileSync(path.join(folder, damaged), "\x1b[2J")
      const { code, stderr, stdout } = yield* runScoped([
        "import",
        "qbittorrent",
        folder,
        "--state",
        path.join(root, "state")
      ])

      assert.strictEqual(code, 1)
      assert.match(stderr, /^piecewise: 1 of \d+ torrents could not be imported\n$/)
      assert.match(stdout, new RegExp(`^failed: .*${damaged}: .`, "m"))
      assert.match(stdout, /^added: /m)
      assert.notInclude(stdout, "\x1b")
    })
  )

  it.live("needs the session for itself, a known client and its folder", () =>
    Effect.gen(function* () {
      const folders = yield* places
      yield* serve(folders)
      const root = yield* folderScoped
      const folder = yield* Effect.promise(() => Recorded.copy("transmission", root))
      const used = yield* runScoped(["import", "transmission", folder, "--state", folders.state])
      const other = yield* runScoped(["import", "deluge", folder, "--state", root])
      const nothing = yield* runScoped(["import", "qbittorrent", root, "--state", path.join(root, "state")])

      assert.strictEqual(
        used.stderr,
        `piecewise: a service uses the state folder ${folders.state}: stop it, and start it again afterwards\n`
      )
      assert.deepStrictEqual([used.code, other.code, nothing.code], [1, 2, 1])
      assert.include(other.stderr, "use qbittorrent or transmission")
      assert.include(nothing.stderr, "has no .fastresume files")
    })
  )
})
