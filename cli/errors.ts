/** Errors for people: one sentence, and an exit code a script can use. */

/** Exit codes of `p2r`. */
export const EXIT = { ok: 0, failed: 1, usage: 2, unavailable: 3, waiting: 4, interrupted: 130 } as const;

/** An error whose message is all the user needs. */
export class UserError extends Error {
  readonly exitCode: number;
  constructor(message: string, exitCode: number = EXIT.usage) {
    super(message);
    this.name = 'UserError';
    this.exitCode = exitCode;
  }
}
