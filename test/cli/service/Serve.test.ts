import { existsSync, readdirSync, readFileSync } from "node:fs"
import { writeFile } from "node:fs/promises"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schedule } from "effect"
import { small } from "../../simulation/torrents.ts"
import { runScoped } from "../program.ts"
import { places, put, putTorrentFile, serve } from "./services.ts"

/** Waits until something is there. */
const eventually = (isThere: () => boolean) =>
  Effect.repeat(Effect.sync(isThere), { until: (found) => found, schedule: Schedule.spaced("50 millis") })

describe("serve", () => {
  it.live("adds what is put into a watched folder, and runs a command when it is complete", () =>
    Effect.gen(function* () {
      const { base, ...folders } = yield* places
      const [incoming, out, config] = ["incoming", "out", "config.json"].map((name) => path.join(base, name)) as [
        string,
        string,
        string
      ]
      const script = `require("fs").writeFileSync(process.argv[1], process.env.PIECEWISE_NAME + " " +
        process.env.PIECEWISE_LABELS + " " + process.env.PIECEWISE_FOLDER)`
      const content = {
        completionHooks: [{ command: process.execPath, args: ["-e", script, out], labels: ["new"] }],
        watchFolders: [{ folder: "incoming", labels: ["new"], downloadFolder: "watched" }]
      }
      yield* Effect.promise(() => writeFile(config, JSON.stringify(content)))
      yield* put(path.join(folders.directory, "watched"), small)
      yield* putTorrentFile(path.join(incoming, "a.torrent"), small)
      yield* serve(folders, "--config", config)
      yield* eventually(() => existsSync(out) && readFileSync(out).length > 0)

      assert.deepStrictEqual(readdirSync(incoming), ["a.torrent.added"])
      assert.strictEqual(readFileSync(out, "utf8"), `known new ${path.join(folders.directory, "watched")}`)
    })
  )

  it.live("does not start with a configuration that it cannot use", () =>
    Effect.gen(function* () {
      const { base, directory, state } = yield* places
      const config = path.join(base, "config.json")
      yield* Effect.promise(() => writeFile(config, '{"watch":[]}'))
      const { code, stderr } = yield* runScoped(["serve", directory, "--state", state, "--config", config])

      assert.strictEqual(stderr, `piecewise: the configuration ${config} cannot be used: watch is not known\n`)
      assert.deepStrictEqual([code, existsSync(state)], [1, false])
    })
  )
})
