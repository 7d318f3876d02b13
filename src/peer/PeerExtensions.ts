/**
 * The extension protocol on one connection (BEP 10): a plain machine that knows which extensions there are, and leaves
 * what they mean to the file of each. It reads no clock and does no I/O; frames go to the outbox of the protocol.
 *
 * Each extension is a value: its name, and what a message does. Its place in the list is the id under which peers send
 * it to us, so another extension is one more entry.
 *
 * Leaves to `PeerProtocol.ts` to know that both sides speak BEP 10, and to the swarm whom we are connected to and what
 * is done with the addresses that a peer sends.
 */
import * as Result from "effect/Result"
import type { PeerAddress } from "../base/PeerAddress.ts"
import * as PeerAddressOf from "../base/PeerAddress.ts"
import * as Version from "../base/Version.ts"
import * as DontHave from "../wire/extension/DontHave.ts"
import * as ExtensionHandshake from "../wire/extension/ExtensionHandshake.ts"
import * as MetadataMessage from "../wire/extension/MetadataMessage.ts"
import type { Contact } from "../wire/extension/PexMessage.ts"
import * as PexMessage from "../wire/extension/PexMessage.ts"
import * as UploadOnly from "../wire/extension/UploadOnly.ts"
import * as FrameEncoder from "../wire/FrameEncoder.ts"
import { WireError } from "../wire/WireError.ts"
import * as MetadataServer from "./MetadataServer.ts"
import * as PeerExchange from "./PeerExchange.ts"
import * as UploadQueue from "./UploadQueue.ts"

/** Bytes in the outbox beyond which no more of the info dict is written to it: half of `PeerPatience.maxWaiting`. */
const maxWaiting = 32_768

/** What the extensions of a torrent have in common. */
export interface TorrentExtensions {
  /** The info dict, as it is sent to peers. */
  readonly info: Uint8Array
  /** Whether its trackers are the only source of peers (BEP 27). */
  readonly isPrivate: boolean
  /** Whether we prefer encrypted connections, or accept no others. */
  readonly prefersEncryption: boolean
  /** Whether we want nothing more from any peer, for now (BEP 21). */
  readonly isUploadOnly: () => boolean
  /** The port that the peer can connect to now, if any. */
  readonly port: () => number | undefined
  /**
   * The peers that we are connected to, except for the one at `remote`, with the addresses at which they can be
   * dialled.
   */
  readonly contacts: (remote: PeerAddress) => Iterable<Contact>
  /** Differs whenever `contacts` differs from before, apart from flags. */
  readonly contactsVersion: () => number
  /** A peer has said that it can be dialled at another port than before. */
  readonly portChanged: () => void
  /** A peer reports under which address it sees us. */
  readonly seenAs: (peer: PeerAddress, ourHost: string) => void
  /** The peer has said which client it is (BEP 10 `v`). Throws `NotAdmitted` if it is not wanted. */
  readonly named?: ((client: string) => void) | undefined
  /**
   * A peer sent addresses of other peers, and what it says about them, and `refused` others that it may not name
   * (`base/Naming.ts`).
   */
  readonly found: (contacts: ReadonlyArray<Contact>, refused: number) => void
}

/** The extensions of one connection. Owned by its session. */
export interface PeerExtensions {
  readonly torrent: TorrentExtensions
  /** The peer's address, as we see it. */
  readonly remote: PeerAddress
  readonly outbox: FrameEncoder.FrameEncoder
  /** What the peer has said about itself so far. */
  theirs: ExtensionHandshake.ExtensionHandshake
  readonly metadata: MetadataServer.MetadataServer
  readonly exchange: PeerExchange.PeerExchange
  /** Called when the peer has lost a piece (BEP 54); the index is unchecked. */
  readonly lost: (piece: number) => void
  /** Whether we last said that we want nothing more (BEP 21). */
  announcedUploadOnly: boolean
  /** Whether the peer says that it wants nothing more (BEP 21). */
  isUploadOnly: boolean
}

interface Extension {
  readonly name: string
  /** Acts on a message; throws a `WireError` if the peer broke the extension's protocol. */
  readonly receive: (self: PeerExtensions, payload: Uint8Array, now: number) => void
}

/** In the order of our ids, from 1 on. */
const extensions: ReadonlyArray<Extension> = [
  {
    name: MetadataMessage.extensionName,
    receive: (self, payload) => {
      const message = Result.getOrThrow(MetadataMessage.decode(payload))
      // We have the info dict, so a peer has nothing to send us.
      if (message._tag !== "Request") return
      const { piece } = message
      switch (MetadataServer.request(self.metadata, piece)) {
        case "wait":
          return sendMetadata(self)
        case "reject":
          return say(self, MetadataMessage.extensionName, MetadataMessage.encode({ _tag: "Reject", piece }))
        case "drop":
          throw new WireError({ why: "requests for metadata without end", isFlood: true })
      }
    }
  },
  {
    name: PexMessage.extensionName,
    receive: (self, payload, now) => {
      const { exchange, torrent } = self
      const before = exchange.refused
      const contacts = PeerExchange.take(exchange, Result.getOrThrow(PexMessage.decode(payload)), now)
      const refused = exchange.refused - before
      if (contacts.length > 0 || refused > 0) torrent.found(contacts, refused)
    }
  },
  {
    name: DontHave.extensionName,
    receive: (self, payload) => self.lost(Result.getOrThrow(DontHave.decode(payload)))
  },
  {
    name: UploadOnly.extensionName,
    receive: (self, payload) => {
      self.isUploadOnly = Result.getOrThrow(UploadOnly.decode(payload))
    }
  }
]

/** Whether an extension may be used for the torrent: peers of a private one are not exchanged (BEP 27). */
const isOffered = ({ name }: Extension, { isPrivate }: TorrentExtensions): boolean =>
  !(isPrivate && name === PexMessage.extensionName)

/** Makes the extensions of a connection on which both sides speak BEP 10, and writes our handshake to the outbox. */
export const make = (options: {
  readonly torrent: TorrentExtensions
  readonly remote: PeerAddress
  readonly outbox: FrameEncoder.FrameEncoder
  readonly lost: (piece: number) => void
}): PeerExtensions => {
  const { outbox, remote, torrent } = options
  const wantNothing = torrent.isUploadOnly()
  const ids = extensions.flatMap((extension, index) =>
    isOffered(extension, torrent) ? [[extension.name, index + 1] as const] : []
  )
  FrameEncoder.extended(
    outbox,
    ExtensionHandshake.id,
    ExtensionHandshake.encode({
      ids: new Map(ids),
      client: Version.userAgent,
      port: torrent.port(),
      externalHost: remote.host,
      maxRequests: UploadQueue.defaultMaxRequests,
      metadataSize: torrent.info.length > 0 ? torrent.info.length : undefined,
      uploadOnly: wantNothing || undefined,
      prefersEncryption: torrent.prefersEncryption
    })
  )
  return {
    torrent,
    remote,
    outbox,
    theirs: ExtensionHandshake.empty,
    metadata: MetadataServer.make(torrent.info),
    exchange: PeerExchange.make({ host: remote.host, isPrivate: torrent.isPrivate }),
    lost: options.lost,
    announcedUploadOnly: wantNothing,
    isUploadOnly: false
  }
}

/**
 * Reads an `extended` frame. Throws a `WireError` if the peer broke a protocol. Ids that we never announced are
 * ignored.
 */
export const receive = (self: PeerExtensions, id: number, payload: Uint8Array, now: number): void => {
  if (id === ExtensionHandshake.id) return greet(self, payload)
  const extension = extensions[id - 1]
  if (extension !== undefined && isOffered(extension, self.torrent)) extension.receive(self, payload, now)
}

const greet = (self: PeerExtensions, payload: Uint8Array): void => {
  const { client, port } = self.theirs
  self.theirs = ExtensionHandshake.merge(self.theirs, Result.getOrThrow(ExtensionHandshake.decode(payload)))
  if (self.theirs.port !== port) self.torrent.portChanged()
  if (self.theirs.client !== undefined && self.theirs.client !== client) self.torrent.named?.(self.theirs.client)
  const { externalHost, infoHashV2, uploadOnly } = self.theirs
  if (infoHashV2 !== undefined) throw new WireError({ why: "it takes the torrent for one of version 2" })
  if (uploadOnly !== undefined) self.isUploadOnly = uploadOnly
  if (externalHost !== undefined) self.torrent.seenAs(self.remote, externalHost)
}

/**
 * Does what is due: sends more of the info dict, whether we want nothing more, and, once a minute, peers that we know.
 */
export const tick = (self: PeerExtensions, now: number): void => {
  sendMetadata(self)
  sayUploadOnly(self)
  if (ExtensionHandshake.idOf(self.theirs, PexMessage.extensionName) === undefined) return
  const { contacts, contactsVersion } = self.torrent
  const message = PeerExchange.next(self.exchange, contacts(self.remote), now, contactsVersion())
  if (message !== undefined) say(self, PexMessage.extensionName, PexMessage.encode(message))
}

/** How many requests the peer accepts at once (`reqq`); `undefined` if it has not said so. */
export const maxRequests = (self: PeerExtensions): number | undefined => self.theirs.maxRequests

/**
 * The address at which the peer can be dialled: that which we dialled, if `dialled`, otherwise its host with the port
 * that it announced; `undefined` if it announced none.
 */
export const dialAddress = (self: PeerExtensions, dialled: boolean): PeerAddress | undefined => {
  if (dialled) return self.remote
  const { port } = self.theirs
  return port === undefined ? undefined : PeerAddressOf.make(self.remote.host, port)
}

/** Whether the peer understands that a piece is lost (BEP 54). */
export const takesDontHave = ({ theirs }: PeerExtensions): boolean =>
  ExtensionHandshake.idOf(theirs, DontHave.extensionName) !== undefined

/** Takes back a piece that was announced to the peer (BEP 54). */
export const dontHave = (self: PeerExtensions, piece: number): void =>
  say(self, DontHave.extensionName, DontHave.encode(piece))

/** A peer that does not know the extension learns it from our haves. */
const sayUploadOnly = (self: PeerExtensions): void => {
  const wantNothing = self.torrent.isUploadOnly()
  if (wantNothing === self.announcedUploadOnly || self.theirs === ExtensionHandshake.empty) return
  self.announcedUploadOnly = wantNothing
  say(self, UploadOnly.extensionName, UploadOnly.encode(wantNothing))
}

/** Writes more of the info dict to the outbox, as far as it was requested and there is room. */
export const sendMetadata = (self: PeerExtensions): void => {
  while (self.outbox.length < maxWaiting) {
    const message = MetadataServer.next(self.metadata)
    if (message === undefined) return
    say(self, MetadataMessage.extensionName, MetadataMessage.encode(message))
  }
}

/** Sends a message under the id that the peer chose for it; does nothing if the peer does not know the extension. */
const say = (self: PeerExtensions, name: string, payload: Uint8Array): void => {
  const id = ExtensionHandshake.idOf(self.theirs, name)
  if (id !== undefined) FrameEncoder.extended(self.outbox, id, payload)
}
