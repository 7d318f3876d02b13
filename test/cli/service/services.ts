/**
 * Services that run as child processes, from the sources, each with its own folders. They reach nobody outside this
 * machine.
 */
import { mkdir, writeFile } from "node:fs/promises"
import * as path from "node:path"
import { Effect } from "effect"
import { HttpClient } from "effect/http"
import * as ControlClient from "../../../src/control/ControlClient.ts"
import * as TorrentFile from "../../../src/metainfo/TorrentFile.ts"
import * as NodeLookup from "../../../src/node/NodeLookup.ts"
import * as NodeRoutedHttp from "../../../src/node/NodeRoutedHttp.ts"
import * as ServiceFolder from "../../../src/node/ServiceFolder.ts"
import type { KnownTorrent } from "../../../src/testing/KnownTorrent.ts"
import { folderScoped, startScoped } from "../program.ts"

/** The folders of a service: of its torrents and of its state, in one that goes when the scope closes. */
export const places = Effect.map(folderScoped, (base) => ({
  base,
  directory: path.join(base, "downloads"),
  state: path.join(base, "state")
}))

/** Where a service keeps what. */
export type Places = Effect.Success<typeof places>

/** Starts a service, and waits until it answers. It is killed when the scope closes, if it has not ended then. */
export const serve = Effect.fnUntraced(function* (
  { directory, state }: Pick<Places, "directory" | "state">,
  ...words: ReadonlyArray<string>
) {
  const args = ["serve", directory, "--state", state, "--http", "127.0.0.1:0", "--no-dht", "--no-listen", ...words]
  const running = yield* startScoped(args)
  yield* Effect.promise(() => running.wrote("The service is at "))
  const { url } = (yield* ServiceFolder.find(state))!
  const token = (yield* ServiceFolder.readToken(state))!
  const http = yield* NodeRoutedHttp.makeKept(NodeLookup.system)
  const client = yield* ControlClient.make({ url: new URL(url), token }).pipe(
    Effect.provideService(HttpClient.HttpClient, http)
  )
  return { ...running, client, token, url }
})

/** Puts the files of a torrent in a folder. */
export const put = (directory: string, { fileContent, metainfo }: KnownTorrent) =>
  Effect.promise(async () => {
    for (const [index, file] of metainfo.layout.files.entries()) {
      const place = path.join(directory, ...file.path)
      await mkdir(path.dirname(place), { recursive: true })
      await writeFile(place, fileContent(index))
    }
  })

/** Writes the torrent file of a torrent to a path. */
export const putTorrentFile = (file: string, { metainfo }: KnownTorrent) =>
  Effect.promise(async () => {
    await mkdir(path.dirname(file), { recursive: true })
    await writeFile(file, TorrentFile.encode(metainfo))
  })
