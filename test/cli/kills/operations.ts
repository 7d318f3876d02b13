/**
 * Asks a service for what `known.ts` has drawn.
 */
import * as FileSystem from "node:fs"
import * as Path from "node:path"
import * as Effect from "effect/Effect"
import * as Bitfield from "../../../src/base/Bitfield.ts"
import type * as Known from "./known.ts"
import type { Client } from "./service.ts"
import * as Torrents from "./torrents.ts"

/** What a service said to an operation. */
export type Answer =
  | {
      readonly _tag: "Confirmed"
      readonly stored?: Bitfield.Bitfield | undefined
      /** Files that it says it has left alone when it removed a torrent with its data, below the folder of the torrent. */
      readonly kept?: ReadonlyArray<string> | undefined
    }
  | { readonly _tag: "Refused"; readonly error: string }
  /** There was no answer. */
  | { readonly _tag: "Unknown" }

/** Moves a torrent, and waits until that is done: to ask again waits for what goes on, and then does nothing. */
const move = (client: Client, infoHash: Torrents.Torrent["infoHash"], folder: string | undefined) =>
  Effect.gen(function* () {
    const asked = { params: { infoHash }, payload: { folder } }
    while (!(yield* client.torrents.setFolder(asked)).isDone) yield* Effect.sleep(20)
  })

const request = (client: Client, torrent: Torrents.Torrent, operation: Known.Operation) => {
  const { torrents } = client
  const params = { infoHash: torrent.infoHash }
  switch (operation._tag) {
    case "Add": {
      const { folder, from, isPaused, labels } = operation
      if (from === "file") {
        return torrents.addFile({ payload: torrent.bytes, query: { folder, isPaused, labels } })
      }
      const source = { _tag: "Magnet", link: Torrents.magnetOf(torrent) } as const
      return torrents.add({ payload: { source, folder, isPaused, labels } })
    }
    case "Remove":
      return torrents.remove({ params, query: { data: operation.data } })
    case "Pause":
      return torrents.pause({ params })
    case "Resume":
      return torrents.resume({ params, payload: {} })
    case "Recheck":
      return torrents.recheck({ params })
    case "Look":
      return Effect.map(torrents.pieces({ params }), ({ stored, totalPieces }) =>
        Bitfield.fromBytes(stored, totalPieces)
      )
    case "Rename": {
      const { file, path } = operation
      return torrents.renameFile({ params: { ...params, file }, payload: { path: path.split("/") } })
    }
    case "Move":
      return move(client, torrent.infoHash, operation.folder)
    case "Label":
      return torrents.update({ params, payload: { labels: operation.labels } })
    case "Limit":
      return torrents.update({
        params,
        payload: { options: { limits: { uploadBytesPerSecond: operation.uploadLimit } } }
      })
  }
}

/** Asks for an operation. */
export const run = (client: Client, torrent: Torrents.Torrent, operation: Known.Operation): Effect.Effect<Answer> =>
  Effect.match(
    request(client, torrent, operation) as Effect.Effect<unknown, { readonly _tag: string; message: string }>,
    {
      onSuccess: (answer): Answer => ({
        _tag: "Confirmed",
        ...(operation._tag === "Look" && { stored: answer as Bitfield.Bitfield }),
        ...(operation._tag === "Remove" && {
          kept: (answer as { readonly keptPaths: ReadonlyArray<string> }).keptPaths
        })
      }),
      onFailure: ({ _tag, message }): Answer =>
        _tag.startsWith("piecewise/") ? { _tag: "Refused", error: `${_tag}: ${message}` } : { _tag: "Unknown" }
    }
  )

/** The path of a download folder. */
export const folderOf = (downloads: string, folder: string | undefined): string => Path.resolve(downloads, folder ?? "")

/** Where the files of a torrent are. */
export const placesOf = (downloads: string, { folder, paths }: Known.Has): ReadonlyArray<string> =>
  paths.map((path) => Path.join(folderOf(downloads, folder), path))

/** The files of a torrent that exist. */
export const existing = (downloads: string, has: Known.Has): ReadonlyArray<string> =>
  placesOf(downloads, has).filter((place) => FileSystem.existsSync(place))

/** Deletes the files of a torrent, which a service has left where they are. */
export const deleteFiles = (downloads: string, has: Known.Has): void => {
  for (const place of placesOf(downloads, has)) FileSystem.rmSync(place, { force: true })
}
