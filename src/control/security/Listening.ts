/**
 * Where a service may listen: without a password on this machine only. Pure; to be asked before the port is opened.
 */
import * as Schema from "effect/Schema"
import * as Reach from "../../base/Reach.ts"

/** The service would be reachable from other machines without a password. */
export class PasswordNeeded extends Schema.TaggedError<PasswordNeeded>()("piecewise/PasswordNeeded", {
  host: Schema.String
}) {
  override get message() {
    return `${this.host} can be reached from other machines, and no password is set: set one with piecewise password, or listen on 127.0.0.1`
  }
}

/** Says why a service must not listen at a host (a name, an address, or `""` for all); `undefined` if it may. */
export const whyNot = (host: string, hasPassword: boolean): PasswordNeeded | undefined =>
  hasPassword || (host !== "" && Reach.isThisMachine(host))
    ? undefined
    : new PasswordNeeded({ host: host === "" ? "Every address of this machine" : host })
