import { CancellationScope, isCancellation } from '@temporalio/workflow';

/**
 * Runs `body` while long-running service activities are kept up, and stops the services afterwards, whatever happened. A service
 * that gives up cancels the body, and its failure is what the caller sees. The services' clean-up is awaited.
 */
export async function whileServing<T>(
  services: (() => Promise<unknown>)[],
  body: () => Promise<T>,
): Promise<T> {
  const serviceScope = new CancellationScope();
  const bodyScope = new CancellationScope();
  let serviceFailure: unknown;
  const watched = async (service: () => Promise<unknown>) => {
    try {
      await service();
    } catch (error) {
      if (isCancellation(error)) return;
      serviceFailure ??= error;
      bodyScope.cancel();
    }
  };
  const serving = serviceScope.run(() => Promise.all(services.map(watched)));
  try {
    return await bodyScope.run(body);
  } catch (error) {
    throw serviceFailure ?? error;
  } finally {
    serviceScope.cancel();
    await CancellationScope.nonCancellable(() => serving);
  }
}
