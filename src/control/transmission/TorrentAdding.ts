/**
 * The method of the Transmission RPC that adds a torrent: by the bytes of its file, a magnet link or a URL. A path on the
 * machine of the service is refused, because no file there may be read for a client.
 */
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as HttpClient from "effect/http/HttpClient"
import * as Result from "effect/Result"
import * as InfoHash from "../../base/InfoHash.ts"
import * as FileLayout from "../../metainfo/FileLayout.ts"
import * as Metainfo from "../../metainfo/Metainfo.ts"
import type { AddOptions } from "../../session/Session.ts"
import * as TorrentUrl from "../TorrentUrl.ts"
import * as FileChoice from "./FileChoice.ts"
import * as RpcArguments from "./RpcArguments.ts"
import * as RpcRefused from "./RpcRefused.ts"
import * as RpcRun from "./RpcRun.ts"
import * as TorrentFields from "./TorrentFields.ts"
import * as TorrentIds from "./TorrentIds.ts"
import * as TorrentSetting from "./TorrentSetting.ts"

const read = RpcArguments.reader(RpcArguments.TorrentAdd)

const refuse = (message: string) => Effect.fail(RpcRefused.because(message))

/** `torrent-add`. */
export const add = Effect.fnUntraced(function* (self: RpcRun.RpcRun, given: unknown) {
  const asked = yield* read(given)
  const refusal = TorrentSetting.refusalOf(asked)
  if (refusal !== undefined) return yield* refuse(refusal)
  if ((asked.cookies ?? "") !== "") return yield* refuse("cookies are not sent: give the torrent file itself")
  const source = yield* sourceOf(self, asked)
  const options = yield* optionsOf(self, asked, source)
  const adding = Effect.map(self.session.add(source, options), ({ infoHash }) => ({ infoHash, isNew: true }))
  const { infoHash, isNew } = yield* adding.pipe(
    Effect.catchTag("piecewise/AlreadyInSession", ({ infoHash }) => Effect.succeed({ infoHash, isNew: false })),
    Effect.mapError(({ message }) => RpcRefused.because(message))
  )
  return { [isNew ? "torrent-added" : "torrent-duplicate"]: yield* described(self, infoHash) }
})

/** The info hash in hex of the torrent that was added, in the arguments of an answer; `undefined` if none was. */
export const addedIn = (found: Readonly<Record<string, unknown>>): string | undefined => {
  const added = found["torrent-added"] as { readonly hashString: string } | undefined
  return added?.hashString
}

/** The fields of a torrent that was added. */
const described = Effect.fnUntraced(function* (self: RpcRun.RpcRun, infoHash: InfoHash.InfoHash) {
  const [status] = yield* RpcRun.select(self, [InfoHash.toHex(infoHash)])
  const numbered = status && TorrentIds.of(self.ids, status)
  if (status === undefined || numbered === undefined) return yield* refuse("the torrent was removed meanwhile")
  return { id: numbered.id, name: status.name, hashString: InfoHash.toHex(infoHash) }
})

const sourceOf = (
  { http }: RpcRun.RpcRun,
  { filename = "", metainfo }: RpcArguments.TorrentAdd
): Effect.Effect<TorrentUrl.Source, RpcRefused.RpcRefused> => {
  if (metainfo !== undefined && metainfo !== "") {
    const bytes = Base64.decode(metainfo)
    return Result.isSuccess(bytes)
      ? Effect.succeed({ metainfo: bytes.success })
      : refuse("metainfo: this is not base64")
  }
  const text = filename.trim()
  if (text === "") return refuse("no filename or metainfo specified")
  if (/^magnet:/i.test(text)) return Effect.succeed({ magnet: text })
  if (/^[0-9a-f]{40}$/i.test(text)) return Effect.succeed({ magnet: `magnet:?xt=urn:btih:${text}` })
  if (!/^https?:/i.test(text)) {
    return refuse("filename can be a magnet link or an http(s) URL: send the content of a file as metainfo")
  }
  return TorrentUrl.source(text).pipe(
    Effect.provideService(HttpClient.HttpClient, http),
    Effect.mapError(({ message }) => RpcRefused.because(message))
  )
}

const optionsOf = Effect.fnUntraced(function* (
  { choices, facts }: RpcRun.RpcRun,
  asked: RpcArguments.TorrentAdd,
  source: TorrentUrl.Source
): Effect.fn.Return<AddOptions, RpcRefused.RpcRefused> {
  const { "download-dir": folder = "", labels, paused, "peer-limit": maxConnections, sequentialDownload } = asked
  if (folder !== "" && !TorrentFields.isAbsolute(folder)) return yield* refuse("download-dir: the path is not absolute")
  // A label may have a folder, in place of which the client names that of the service.
  const isDefault = folder === "" || (folder.replace(/\/+$/, "") === facts.directory && (labels ?? []).length === 0)
  return {
    labels,
    isPaused: paused ?? !choices.startAddedTorrents,
    files: FileChoice.isAsked(asked) ? yield* filesOf(asked, source) : undefined,
    ...(!isDefault && { folder }),
    ...(maxConnections !== undefined && { maxConnections }),
    ...(sequentialDownload === true && { order: "sequential" as const })
  }
})

const filesOf = Effect.fnUntraced(function* (asked: RpcArguments.TorrentAdd, source: TorrentUrl.Source) {
  if ("magnet" in source) {
    return yield* refuse("the files of a magnet link are not known yet: choose them with torrent-set later")
  }
  const decoded = Metainfo.decode(source.metainfo)
  if (Result.isFailure(decoded)) return yield* refuse(decoded.failure.message)
  const files = FileLayout.realFiles(decoded.success.layout).map((index) => ({ index, priority: "normal" as const }))
  const priorities = FileChoice.apply(files, asked)
  if (priorities instanceof RpcRefused.RpcRefused) return yield* priorities
  return priorities
})
