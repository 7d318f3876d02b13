/**
 * Fetches the torrent of a URL that the user typed.
 */
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as TorrentUrl from "../control/TorrentUrl.ts"
import type * as Hops from "../network/Hops.ts"
import * as NodeUnpacking from "../network/provider/node/NodeUnpacking.ts"
import { Unpacking } from "../network/Unpacking.ts"
import * as NodeLookup from "../node/NodeLookup.ts"
import * as NodeRoutedHttp from "../node/NodeRoutedHttp.ts"
import { CommandFailed } from "./CommandFailed.ts"

/** Makes a client that connects from the local address `from`; `undefined` for the system's choice. */
export const makeClient = (from: string | undefined): HttpClient.HttpClient =>
  NodeRoutedHttp.make(NodeLookup.system, from)

/** Returns the bytes of a torrent file, or a magnet link and who redirects to it. */
export const fetchTorrent = (
  url: string,
  client: HttpClient.HttpClient
): Effect.Effect<Uint8Array | Hops.Elsewhere, CommandFailed> =>
  TorrentUrl.fetch(url).pipe(
    Effect.provideService(HttpClient.HttpClient, client),
    Effect.provideService(Unpacking, NodeUnpacking.unpack),
    Effect.mapError(({ message }) => new CommandFailed({ why: message }))
  )
