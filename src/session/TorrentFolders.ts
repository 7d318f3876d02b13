/**
 * The download folders of torrents that have one of their own. A session fills it, and the storage below its engine asks
 * it: `FileSystemStorage` by its option `directoryOf`. A storage without folders, such as one in memory, does not.
 */
import * as Context from "effect/Context"
import * as Layer from "effect/Layer"
import * as InfoHash from "../base/InfoHash.ts"

/** Where torrents are, if not in the download folder of the storage. */
export class TorrentFolders extends Context.Service<
  TorrentFolders,
  {
    /** The folder of a torrent; `undefined` for that of the storage. */
    readonly of: (infoHash: InfoHash.InfoHash) => string | undefined
    /** Sets it, for when the torrent is opened the next time. */
    readonly set: (infoHash: InfoHash.InfoHash, folder: string | undefined) => void
  }
>()("piecewise/session/TorrentFolders") {}

/** Makes it without folders. */
export const make = (): TorrentFolders["Service"] => {
  const folders = new Map<string, string>()
  return {
    of: (infoHash) => folders.get(InfoHash.toHex(infoHash)),
    set: (infoHash, folder) => {
      const key = InfoHash.toHex(infoHash)
      if (folder === undefined) folders.delete(key)
      else folders.set(key, folder)
    }
  }
}

/** No folders at first. */
export const layer: Layer.Layer<TorrentFolders> = Layer.sync(TorrentFolders, make)
