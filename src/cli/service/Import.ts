/**
 * Implements `piecewise import`, which adds the torrents of another client to the session of a state folder.
 *
 * Importing reads files of this machine, so no API does it. The session belongs to one process at a time, so no service
 * may run meanwhile.
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as NodeEngine from "../../node/NodeEngine.ts"
import * as ServiceFolder from "../../node/ServiceFolder.ts"
import * as SessionImport from "../../session/import/SessionImport.ts"
import * as SqliteSessionStore from "../../session/provider/node/SqliteSessionStore.ts"
import * as Session from "../../session/Session.ts"
import { SessionStore } from "../../session/SessionStore.ts"
import * as TorrentFolders from "../../session/TorrentFolders.ts"
import * as Arguments from "../Arguments.ts"
import { CommandFailed } from "../CommandFailed.ts"
import type { Output } from "../Output.ts"
import * as TerminalText from "../TerminalText.ts"
import * as ServiceLines from "./ServiceLines.ts"
import * as StateCommands from "./StateCommands.ts"

/**
 * The session of a state folder, in which no torrent runs: nothing is connected to, announced or verified. The limits of
 * the queue do that, and those that are saved stay.
 */
const session = (state: string) => {
  const store = Layer.effect(
    SessionStore,
    Effect.map(SqliteSessionStore.make({ file: ServiceFolder.sessionIn(state), patience: 0 }), (store) =>
      SessionStore.of({
        ...store,
        load: Effect.map(store.load, (saved) => ({ ...saved, limits: { ...saved.limits, downloads: 0, seeds: 0 } }))
      })
    )
  )
  const engine = NodeEngine.layer({
    directory: state,
    resumeDirectory: ServiceFolder.resumeIn(state),
    dht: false,
    telemetry: { metrics: false, logs: false }
  })
  return Session.layer.pipe(Layer.provide(engine), Layer.provide(store), Layer.provide(TorrentFolders.layer))
}

const words = { Added: "added", AlreadyThere: "was there", Failed: "failed" } as const

/** What people read of a torrent. */
const describe = ({ file, name = file, notes, outcome }: SessionImport.ImportedTorrent): ReadonlyArray<string> => [
  TerminalText.clean(`${words[outcome._tag]}: ${name}${outcome._tag === "Failed" ? `: ${outcome.why}` : ""}`),
  ...notes.map((note) => TerminalText.clean(`  ${note}`))
]

const countOf = ({ torrents }: SessionImport.Report, tag: SessionImport.Outcome["_tag"]): number =>
  torrents.filter(({ outcome }) => outcome._tag === tag).length

/** Imports the session. Fails if a torrent could not be imported, after all others were. */
export const run = Effect.fnUntraced(function* (args: Arguments.Arguments, output: Output) {
  const [name, folder] = args.operands as [string, string]
  const client = StateCommands.clients.find((client) => client === name)
  if (client === undefined) {
    const why = `${name} is not a client whose session can be imported; use ${StateCommands.clients.join(" or ")}`
    return yield* Effect.fail(new Arguments.WrongUsage(why))
  }
  const state = Arguments.get(args, "state") ?? ServiceFolder.defaultFolder()
  const report = yield* SessionImport.run(client, folder).pipe(
    Effect.provide([session(state), NodeFileSystem.layer]),
    Effect.mapError((error) =>
      error._tag === "piecewise/SessionStoreError" && error.reason._tag === "StoreInUse"
        ? new CommandFailed({ why: `a service uses the state folder ${state}: stop it, and start it again afterwards` })
        : new CommandFailed({ why: error.message })
    )
  )
  const [added, there, failed] = [countOf(report, "Added"), countOf(report, "AlreadyThere"), countOf(report, "Failed")]
  if (Arguments.has(args, "json")) ServiceLines.print(output, { _tag: "Imported", ...report })
  else {
    output.print([
      ...report.torrents.flatMap(describe),
      `${report.torrents.length} in ${TerminalText.clean(report.folder)}: ${added} added, ${there} there already, ${failed} failed`
    ])
  }
  if (failed === 0) return
  const why = `${failed} of ${report.torrents.length} torrents could not be imported`
  return yield* new CommandFailed({ why })
})
