/** How the group's standard deviation is taken, and what is added to it. */
export type AdvantageOptions = {
  /** Added to the deviation (the paper's small constant in eq. 4): TRL uses 1e-4, veRL 1e-6. */
  epsilon?: number;
  /** `sample` divides by n - 1 (TRL and veRL), `population` by n. The paper does not say which. */
  deviation?: 'sample' | 'population';
};

/**
 * Group-relative advantages A_i = (r_i - mean) / (std + epsilon) of one prompt's G rollouts.
 * `null` stands for an unscored rollout: it is left out of mean and deviation and gets advantage 0, so it moves nothing.
 * A group with fewer than two scored rollouts, or with equal rewards, gives zeros.
 * @see paper, eq. 4 and Algorithm 1, lines 29 to 32
 */
export function groupAdvantages(
  rewards: readonly (number | null)[],
  options: AdvantageOptions = {},
): number[] {
  const { epsilon = 1e-4 } = options;
  const { mean, deviation } = groupStatistics(rewards, options);
  if (mean === null || deviation === null) return rewards.map(() => 0);
  return rewards.map((reward) => (reward === null ? 0 : (reward - mean) / (deviation + epsilon)));
}

/**
 * Mean and standard deviation of a group's scored rewards; `null` where undefined.
 * @see paper, Algorithm 1, line 29
 */
export function groupStatistics(
  rewards: readonly (number | null)[],
  { deviation = 'sample' }: AdvantageOptions = {},
): { mean: number | null; deviation: number | null } {
  const scored = rewards.filter((reward) => reward !== null);
  if (scored.length === 0) return { mean: null, deviation: null };
  const mean = scored.reduce((sum, reward) => sum + reward, 0) / scored.length;
  const degrees = deviation === 'sample' ? scored.length - 1 : scored.length;
  if (degrees === 0) return { mean, deviation: null };
  const squares = scored.reduce((sum, reward) => sum + (reward - mean) ** 2, 0);
  return { mean, deviation: Math.sqrt(squares / degrees) };
}

/** Log-probabilities (natural logarithm) of one rollout's tokens under the policy, the sampling policy, and the reference model. */
export type RolloutTokens = {
  policy: readonly number[];
  old: readonly number[];
  /** Needed where `beta` is not 0. */
  reference?: readonly number[];
  advantage: number;
};

/** Constants of the objective. */
export type ObjectiveOptions = {
  /** The ratio is clipped to 1 - low .. 1 + high; both 0.2 in TRL and veRL. */
  clipLow?: number;
  clipHigh?: number;
  /** Weight of the KL term, `kl_loss_coef`: 0.01 in the paper's table 6. */
  beta?: number;
  /**
   * How tokens are averaged: over each rollout first and then over rollouts (`sequence`: eq. 5's 1/G sum, TRL's `grpo`), or over all
   * tokens at once (`token`: veRL's default `token-mean`, TRL's `dapo`).
   */
  average?: 'sequence' | 'token';
  /**
   * Multiplies each token's KL by its ratio. The paper and veRL do not; TRL 1.16 does unless `use_bias_correction_kl` is false, and logs
   * the product as `kl`.
   */
  weightKlByRatio?: boolean;
};

/** The objective (to be made large; the trainers' loss is its negative) and what trainers log beside it. */
export type ObjectiveTerms = {
  objective: number;
  /** The clipped part alone. */
  surrogate: number;
  /** Mean low-variance KL to the reference; 0 where `beta` is 0. */
  kl: number;
  /** Share of tokens whose ratio is below 1 - low with a negative advantage. */
  clip_low: number;
  /** Share of tokens whose ratio is above 1 + high with a positive advantage. */
  clip_high: number;
  /** Sum of the two. */
  clip_fraction: number;
};

/**
 * Importance ratio of a token: exp(log pi - log pi_old).
 * @see paper, eq. 6 (written there for a whole rollout; both trainers apply it token by token)
 */
export function importanceRatio(policy: number, old: number): number {
  return Math.exp(policy - old);
}

/**
 * Clipped surrogate of one ratio: min(rho A, clip(rho, 1 - low, 1 + high) A).
 * @see paper, eq. 5
 */
export function clippedSurrogate(ratio: number, advantage: number, clipLow = 0.2, clipHigh = 0.2): number {
  const clipped = Math.min(Math.max(ratio, 1 - clipLow), 1 + clipHigh);
  return Math.min(ratio * advantage, clipped * advantage);
}

/**
 * Low-variance KL estimate of one token ("k3"): exp(d) - d - 1 with d = log pi_ref - log pi. Never negative; 0 where both agree.
 * @see paper, eq. 5 and table 6 (`kl_loss_type = low_var_kl`)
 */
export function lowVarianceKl(policy: number, reference: number): number {
  const d = reference - policy;
  return Math.exp(d) - d - 1;
}

/**
 * The GRPO objective of one update and the figures trainers log with it.
 * @throws RangeError when a rollout's lists differ in length, or `beta` is not 0 and a reference is missing
 * @see paper, eq. 5
 */
export function grpoObjective(
  rollouts: readonly RolloutTokens[],
  options: ObjectiveOptions = {},
): ObjectiveTerms {
  const { clipLow = 0.2, clipHigh = 0.2, beta = 0, average = 'sequence', weightKlByRatio = false } = options;
  let [tokens, low, high] = [0, 0, 0];
  const sums = rollouts.map(({ policy, old, reference, advantage }, index) => {
    if (old.length !== policy.length || (beta !== 0 && reference?.length !== policy.length)) {
      throw new RangeError(
        `Rollout ${index} has ${policy.length} policy, ${old.length} old and ${reference?.length ?? 0} reference log-probabilities; give one of each per token.`,
      );
    }
    let [surrogate, kl] = [0, 0];
    for (const [t, logp] of policy.entries()) {
      const ratio = importanceRatio(logp, old[t] ?? 0);
      surrogate += clippedSurrogate(ratio, advantage, clipLow, clipHigh);
      if (ratio < 1 - clipLow && advantage < 0) low++;
      if (ratio > 1 + clipHigh && advantage > 0) high++;
      if (beta !== 0) kl += lowVarianceKl(logp, reference?.[t] ?? 0) * (weightKlByRatio ? ratio : 1);
    }
    tokens += policy.length;
    return { surrogate, kl, length: policy.length };
  });
  const mean = (part: 'surrogate' | 'kl') => {
    if (average === 'token')
      return share(
        sums.reduce((sum, item) => sum + item[part], 0),
        tokens,
      );
    return share(
      sums.reduce((sum, item) => sum + share(item[part], item.length), 0),
      sums.length,
    );
  };
  const surrogate = mean('surrogate');
  const kl = mean('kl');
  return {
    objective: surrogate - beta * kl,
    surrogate,
    kl,
    clip_low: share(low, tokens),
    clip_high: share(high, tokens),
    clip_fraction: share(low + high, tokens),
  };
}

function share(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole;
}
