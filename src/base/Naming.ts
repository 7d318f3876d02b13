/**
 * Who may name which addresses of peers. A stranger, such as a tracker, a peer (BEP 11) or a node of the DHT (BEP 5),
 * may send any address, and so try to make us connect to services of this machine and of the network around. So nobody
 * may name an address that is less public than their own: the addresses of a network come from that network, and those
 * of this machine from this machine. Pure: whoever connects must ask again for the addresses that a name resolves to.
 *
 * The classes of addresses are those of `Reach.ts`, which decides about URLs too (`Destination.ts`).
 */
import * as IpAddress from "./IpAddress.ts"
import type { PeerAddress } from "./PeerAddress.ts"
import * as Reach from "./Reach.ts"

/**
 * The reach of whoever may name every address that a peer can have: the user, a list of the user's, and sources that
 * only hear of the network around (`PeerSource.isLocal`). It is that of a host on this machine.
 */
export const anything: Reach.Reach = "loopback"

/** Whether somebody of the reach `from` may name a host of the reach `to`. */
const isAllowed = (from: Reach.Reach, to: Reach.Reach): boolean =>
  to === "public" || (to !== "none" && from !== "none" && !Reach.isLessPublic(to, from))

/** Why an address is refused that somebody else might name. */
export const lessPublic = "it is in a local network or on this machine, and whoever named it is not"

/** Why an address is refused whoever names it. */
export const noAddress = "no peer can have such an address"

/**
 * Why an address, in canonical form (`PeerAddress.make`), may not be used that was named from `from`, the reach of
 * whoever named it (`Reach.of` their host); `undefined` if it may. The text is the end of a sentence.
 *
 * Port 0, multicast, broadcast, reserved and unspecified hosts, and services that keep credentials of clouds are
 * refused whoever names them. A name of DNS counts as public.
 */
export const whyNot = (from: Reach.Reach, { host, port }: PeerAddress): string | undefined => {
  if (!Number.isInteger(port) || port < 1 || port > 65_535) return "it has no port"
  const to = Reach.of(host)
  if (to === "none") return noAddress
  return isAllowed(from, to) ? undefined : lessPublic
}

/** Whether an address may be used that was named from `from`; see `whyNot`. */
export const mayName = (from: Reach.Reach, address: PeerAddress): boolean => whyNot(from, address) === undefined

/** Whether the host of an address is a name, so that its addresses are known only when it is resolved. */
export const isName = ({ host }: PeerAddress): boolean => IpAddress.parse(IpAddress.withoutZone(host)) === undefined
