/**
 * Why a request of the Transmission RPC is not done. It becomes the `result` of the answer.
 */
import * as Data from "effect/Data"

/** A request that is not done, or not wholly. `message` is for the user of the client. */
export class RpcRefused extends Data.TaggedError("RpcRefused")<{ readonly message: string }> {}

/** Makes it. */
export const because = (message: string): RpcRefused => new RpcRefused({ message })
