/**
 * A session as it runs on Node: the engine of `NodeEngine`, and a database beside the resume data.
 */
import * as Path from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Environment from "../base/Environment.ts"
import type { InfoHash } from "../base/InfoHash.ts"
import * as SqliteSessionStore from "../session/provider/node/SqliteSessionStore.ts"
import * as Session from "../session/Session.ts"
import * as TorrentFolders from "../session/TorrentFolders.ts"
import * as NodeEngine from "./NodeEngine.ts"

/**
 * How a session is set up on Node. Torrents and labels may have folders of their own, besides `directory`. One that is
 * relative is below `directory`, wherever the process runs.
 */
export interface Options extends Omit<NodeEngine.Options, "directoryOf"> {
  /** The path of the database; default `session.db` in the folder for resume data. One process may use it at a time. */
  readonly database?: string | undefined
}

const databaseOf = ({ database, directory, resumeDirectory }: Options): string =>
  database ?? Path.join(resumeDirectory ?? Environment.resumeDirectoryIn(directory), "session.db")

/**
 * A session whose torrents go on from one run to the next, with its engine and the services that it runs on. Fails with
 * `SessionStoreError` if the database cannot be used.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { mkdtemp, rm, writeFile } from "node:fs/promises"
 * import { tmpdir } from "node:os"
 * import { join } from "node:path"
 * import { Effect } from "effect"
 * import { CreateTorrent } from "piecewise"
 * import { Session } from "piecewise/session"
 * import { NodeSession } from "piecewise/session/node"
 *
 * const directory = await mkdtemp(join(tmpdir(), "piecewise-"))
 * await writeFile(join(directory, "hello"), "hello")
 * const digests = new Uint8Array(await crypto.subtle.digest("SHA-1", new TextEncoder().encode("hello")))
 * const files = [{ path: [], length: 5 }]
 * const metainfo = CreateTorrent.encode({ name: "hello", files, pieceLength: 16_384, digests })
 *
 * const first = Session.Session.use((session) => session.add({ metainfo }, { labels: ["greetings"] }))
 * const second = Session.Session.use((session) => session.list)
 * const run = <A, E>(program: Effect.Effect<A, E, Session.Session>) =>
 *   Effect.runPromise(Effect.provide(program, NodeSession.layer({ directory, dht: false })))
 * await run(first)
 * const { torrents } = await run(second)
 * assert.deepEqual(torrents.map(({ labels, name }) => [name, ...labels]), [["hello", "greetings"]])
 * await rm(directory, { recursive: true })
 * ```
 */
export const layer = (options: Options) =>
  Session.layer.pipe(
    Layer.provideMerge(
      Layer.unwrap(
        Effect.map(TorrentFolders.TorrentFolders, (folders) => {
          const directoryOf = (infoHash: InfoHash) => {
            const folder = folders.of(infoHash)
            return folder && Path.resolve(options.directory, folder)
          }
          return NodeEngine.layer({ ...options, directoryOf })
        })
      )
    ),
    // Before the engine, and until it has ended: whoever has the database has the port and the resume data too.
    Layer.provideMerge(SqliteSessionStore.layer({ file: databaseOf(options) })),
    Layer.provideMerge(TorrentFolders.layer)
  )
